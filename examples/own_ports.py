"""A port for each worker, behind nginx.

Each worker listens on a port of its own (``exclusive``), and nginx chooses one. The primary accepts nothing. A worker
that is replaced passes its port on to the next, in an environment variable. `docs/how-to/nginx.md` has the
configuration of nginx.

    $ PORTS="8001 8002 8003 8004" python own_ports.py
    worker 4712: 8001 ready
    worker 4713: 8002 ready
    worker 4714: 8003 ready
    worker 4715: 8004 ready

It runs until Ctrl-C. Without ``$PORTS`` it takes four free ports. A request answers with the pid of its worker, and
``/exit`` ends one:

    $ curl http://127.0.0.1:8001
    4712
    $ curl http://127.0.0.1:8001/exit
    4712

The first terminal shows the replacement, on the same port:

    worker 4716: 8001 ready
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
