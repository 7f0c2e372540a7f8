"""A listening socket that is sent to child processes.

The parent opens a port, sends the listening socket to two children, and closes its own. The children serve. So several
processes listen on one port without binding it twice. In Node this is ``child.send("server", server)``.
`send_server.py` does it with workers that are replaced.

    $ python pass_the_server.py
    parent 4711
    the parent has closed the port; children 4712 4713
    handled by child, pid is 4712
    …
"""

import asyncio
import os
import socket

from aiocluster import child_process

REQUESTS = 6


async def child(parent: child_process.Parent) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = f"handled by child, pid is {os.getpid()}\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()

    event = await parent.wait_for("message")
    assert event.message == "server"
    server = await asyncio.start_server(answer, sock=event.handles[0])
    await parent.send("ready")
    async with server:
        await server.serve_forever()


async def get(port: int) -> str:
    """Sends one HTTP request on a new connection. Returns the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n")
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response.decode().rpartition("\r\n\r\n")[2].strip()


async def main() -> None:
    print(f"parent {os.getpid()}")
    async with await child_process.fork(__file__) as child1, await child_process.fork(__file__) as child2:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            for process in (child1, child2):
                await process.send("server", [server])
                await process.wait_for("message")
        print("the parent has closed the port; children", child1.pid, child2.pid)
        for _ in range(REQUESTS):
            print(await get(port))


if __name__ == "__main__":
    parent = child_process.parent()
    asyncio.run(main() if parent is None else child(parent))
