"""What runs in the workers of `test_cluster`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys

from aiocluster import current_worker


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b"%d" % os.getpid()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
    await writer.wait_closed()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


async def crash() -> None:
    raise LookupError("crashed as it should")


def end_at_once() -> None:
    sys.exit(3)


async def crash_when_told() -> None:
    """Fails with a request in flight, which it still answers."""
    worker = current_worker()
    crashing = asyncio.Event()
    worker.on("message", lambda event: crashing.set())

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await worker.send("asked")
        await answer(reader, writer)

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    await crashing.wait()
    raise LookupError(f"crashed as told, with {server}")


async def ignore_everything() -> None:
    """Ends by SIGKILL only."""
    signal.signal(signal.SIGTERM, lambda *args: None)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
