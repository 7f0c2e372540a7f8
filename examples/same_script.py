"""One script that is primary and worker.

The script asks ``is_primary()`` which of the two it is, as a Node program asks ``cluster.isPrimary``. The primary
starts four workers, and a new one for each that ends. It gives them no target, so they run the same script again.

    $ python same_script.py
    primary 4711 is running
    worker 1 has started, pid 4712

It listens on ``$PORT``, by default 8000, until Ctrl-C. Each answer is the pid of the worker. Another request ends one:

    $ curl http://127.0.0.1:8000
    4712
    $ curl http://127.0.0.1:8000/exit
    4713

The first terminal shows that it is replaced:

    worker 4713 died
    worker 5 has started, pid 4716
"""

import asyncio
import os

from aiocluster import Primary, current_worker, is_primary
from aiocluster.events import Exit

PORT = int(os.environ.get("PORT", "8000"))
WORKERS = 4


async def primary() -> None:
    print(f"primary {os.getpid()} is running", flush=True)
    async with Primary() as primary:

        @primary.on("exit")
        async def replace(event: Exit) -> None:
            print(f"worker {event.worker.pid} died", flush=True)
            await primary.fork()

        for _ in range(WORKERS):
            await primary.fork()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            primary.off("exit", replace)  # from here on, workers end because they are told to


async def worker() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        body = f"{os.getpid()}\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()
        if request.startswith(b"GET /exit "):
            os._exit(1)

    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    print(f"worker {current_worker().id} has started, pid {os.getpid()}", flush=True)
    async with server:
        await server.serve_forever()


try:
    asyncio.run(primary() if is_primary() else worker())
except KeyboardInterrupt:
    pass
