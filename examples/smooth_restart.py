"""After an uncaught exception, the replacement starts at once, and the failed worker finishes its open connections.

Seeds 000 and 002: in ``uncaughtException``, a worker sends a ``suicide`` message to get its replacement before it
closes its server. Connections that last longer have five seconds. `Cluster` does this by itself. It also ends the
workers with the primary on SIGINT, SIGQUIT and SIGTERM.

It listens on ``$PORT``, by default 8000. ``curl http://127.0.0.1:8000/crash`` gets an answer, and then the worker
fails. To see that it waits for a slow client, start an upload first: ``curl -T - http://127.0.0.1:8000``.
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
