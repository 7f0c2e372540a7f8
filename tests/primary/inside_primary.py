"""What runs in the workers of `test_primary`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from aiocluster import current_worker


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b"%d" % os.getpid()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
    await writer.wait_closed()


async def talk() -> None:
    """Says hello, listens, and leaves when it is told to."""
    worker = current_worker()
    await worker.send("hello")
    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    await server.serve_forever()


async def hello(*args: str) -> None:
    await current_worker().send(["hello", *args])


def hello_sync(*args: str) -> None:
    asyncio.run(hello(*args))


async def tell_settings() -> None:
    await current_worker().send(
        {
            "MARK": os.environ.get("MARK"),
            "OWN": os.environ.get("OWN"),
            "cwd": os.getcwd(),
            "argv": sys.argv[1:],
            "dev_mode": sys.flags.dev_mode,
            "optimize": sys.flags.optimize,
            "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
        }
    )


async def nothing() -> None:
    pass


async def answer_requests() -> None:
    worker = current_worker()

    async def handle(message: Any, sender: int) -> Any:
        assert sender == worker.primary_pid
        if message == "fail":
            raise ZeroDivisionError("as asked")
        if message == "wait":
            await asyncio.get_running_loop().create_future()
        if message == "ask back":
            return [await worker.request("who?"), await worker.request("who?")]
        return [worker.id, message]

    worker.handle_requests(handle)
    await worker.send("ready")
    await asyncio.get_running_loop().create_future()


async def repeat() -> None:
    worker = current_worker()
    async for message in worker.messages():
        await worker.send(message)
