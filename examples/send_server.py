"""A listening socket that is sent to workers.

The primary opens the port and sends the listening socket to each worker with ``send(…, handles=[…])``. The workers
accept by themselves, so the kernel decides which one gets a connection. A worker that is replaced passes nothing on:
the primary keeps the socket, and sends it to the next one. In Node this is ``child.send("server", server)``. `Cluster`
does all of this by itself, with ``scheduling="shared"``.

    $ python send_server.py
    created worker 4712

It listens on ``$PORT``, by default 8000, until Ctrl-C. ``/exit`` ends the worker that answers:

    $ curl http://127.0.0.1:8000
    4713
    $ curl http://127.0.0.1:8000/exit
    4713

The first terminal shows the replacement:

    worker 4713 ended: 1 None
    created worker 4716
"""

import asyncio
import os
import socket

from aiocluster import Primary, current_worker
from aiocluster.events import Exit

PORT = int(os.environ.get("PORT", "8000"))
WORKERS = 4


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the pid. A request for /exit ends the process, so that the primary replaces it."""
    request = await reader.readuntil(b"\r\n\r\n")
    body = f"{os.getpid()}\n".encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
    writer.close()
    await writer.wait_closed()
    if request.startswith(b"GET /exit "):
        os._exit(1)


async def serve() -> None:
    """The worker: waits for the listening socket, and serves on it."""
    event = await current_worker().wait_for("message")
    assert event.message == "server"
    server = await asyncio.start_server(answer, sock=event.handles[0])
    async with server:
        await server.serve_forever()


async def main() -> None:
    """The primary."""
    with socket.create_server(("127.0.0.1", PORT), backlog=100) as server:
        async with Primary(serve) as primary:

            async def create_worker() -> None:
                worker = await primary.fork()
                await worker.send("server", [server])
                print("created worker", worker.pid, flush=True)

            @primary.on("exit")
            async def replace(event: Exit) -> None:
                print("worker", event.worker.pid, "ended:", event.code, event.signal, flush=True)
                await create_worker()

            for _ in range(WORKERS):
                await create_worker()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                primary.off("exit", replace)  # from here on, workers end because they are told to


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
