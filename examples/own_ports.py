"""Each worker has its own port, and nginx chooses a port.

Seed 004: each worker of the first master serves on its own port and sends the port to its parent. Seed 003 has four
fixed ports in nginx's ``upstream``. `docs/how-to/nginx.md` has the configuration.

``$PORTS`` has the ports. The default is four random ports. When a worker ends, its replacement uses the same port,
which is in its environment. `exclusive` makes the worker listen in its own process instead of on a shared port. It
runs until Ctrl-C.
"""

import asyncio
import os

from aiocluster import Primary, current_worker, exclusive
from aiocluster.events import Exit, Message

PORTS = os.environ.get("PORTS", "0 0 0 0").split()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the pid. A request for /exit ends the process, so that the primary replaces it."""
    request = await reader.readuntil(b"\r\n\r\n")
    body = f"{os.getpid()}\n".encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    if request.startswith(b"GET /exit "):
        os._exit(1)


async def serve() -> None:
    """The worker."""
    with exclusive():
        server = await asyncio.start_server(answer, "127.0.0.1", int(os.environ["OWN_PORT"]))
    async with server:
        await current_worker().send(server.sockets[0].getsockname()[1])
        await server.serve_forever()


async def main() -> None:
    """The primary: it knows the port of each worker. No connection goes through it."""
    async with Primary(serve) as primary:

        @primary.on("message")
        def ready(event: Message) -> None:
            print(f"worker {event.sender}: {event.message} ready", flush=True)

        @primary.on("exit")
        async def replace(event: Exit) -> None:
            await primary.fork(event.worker.env)

        for port in PORTS:
            await primary.fork({"OWN_PORT": port})
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            primary.off("exit", replace)  # from here on, workers end because they are told to


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
