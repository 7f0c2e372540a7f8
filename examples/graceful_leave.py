"""A worker leaves, and the next one starts.

A worker wants to leave. It tells the primary, which starts the next worker at once, and calls ``disconnect()``: it
closes its servers and finishes its open connections. Here the primary does everything by hand, as in Node.

    $ python graceful_leave.py
    worker 4712 is serving
    worker 4713 is serving

It listens on ``$PORT``, by default 8000, until Ctrl-C. This request makes a worker leave:

    $ curl http://127.0.0.1:8000/leave
    4713

The first terminal shows it:

    worker 4713 is leaving
    …
    worker 4713 has left as it wished: 0

To see that it waits for a slow client, start an upload before: ``curl -T - http://127.0.0.1:8000``.
"""

import asyncio
import os

from aiocluster import Primary, current_worker
from aiocluster.events import Exit, Message

PORT = int(os.environ.get("PORT", "8000"))
WORKERS = int(os.environ.get("WORKERS", "2"))


async def serve() -> None:
    """The worker."""
    worker = current_worker()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"PUT "):
            await reader.read()  # until the client has sent it all
        body = f"{worker.pid}\n".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()
        if request.startswith(b"GET /leave "):
            await worker.send("leaving")
            await worker.disconnect()

    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    await worker.send("serving")
    async with server:
        await server.serve_forever()


async def main() -> None:
    async with Primary(serve) as primary:

        @primary.on("message")
        async def hear(event: Message) -> None:
            print(f"worker {event.sender} is {event.message}", flush=True)
            if event.message == "leaving":
                await primary.fork()

        @primary.on("exit")
        def gone(event: Exit) -> None:
            how = "as it wished" if event.worker.exited_after_disconnect else "unasked"
            print(f"worker {event.worker.pid} has left {how}: {event.code}", flush=True)

        for _ in range(WORKERS):
            await primary.fork()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            primary.off("exit", gone)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
