"""A worker that fails finishes its connections.

A worker has an uncaught exception. Its replacement starts at once, and the failed worker still finishes its open
connections, for five seconds (``graceful_timeout``). `Cluster` does this by itself. It also ends the workers with the
primary, on SIGINT, SIGQUIT and SIGTERM.

    $ python smooth_restart.py
    worker 4712 listens
    worker 4713 listens

It listens on ``$PORT``, by default 8000, until Ctrl-C. This request is answered, and then its worker fails:

    $ curl http://127.0.0.1:8000/crash
    I am worker, pid: 4712, ppid: 4711

The first terminal shows the failure with its traceback, that another worker listens, and the end of the failed one:

    worker 4712 failed: worker process exception!
    …
    worker 4712 exited: 1

To see that a failed worker waits for a slow client, start an upload before: ``curl -T - http://127.0.0.1:8000``.
"""

import asyncio
import os

from aiocluster import Cluster, RemoteError
from aiocluster.events import Error

PORT = int(os.environ.get("PORT", "8000"))
SECONDS = float(os.environ.get("SECONDS", "5"))  # the time that a failed worker has to finish
WORKERS = int(os.environ.get("WORKERS", "2"))


async def serve() -> None:
    """The worker."""
    failure = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"PUT "):
            await reader.read()  # until the client has sent it all
        body = f"I am worker, pid: {os.getpid()}, ppid: {os.getppid()}\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()
        if request.startswith(b"GET /crash "):
            failure.set_exception(RuntimeError("worker process exception!"))

    await asyncio.start_server(answer, "127.0.0.1", PORT)
    await failure


async def main() -> None:
    cluster = Cluster(serve, workers=WORKERS, graceful_timeout=SECONDS)

    @cluster.on("error")
    def failed(event: Error) -> None:
        if event.worker is not None and isinstance(event.error, RemoteError):
            print(f"worker {event.worker.pid} failed: {event.error.text}", flush=True)

    cluster.on("listening", lambda event: print(f"worker {event.worker.pid} listens", flush=True))
    cluster.on("exit", lambda event: print(f"worker {event.worker.pid} exited: {event.code}", flush=True))
    async with cluster:
        await cluster.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
