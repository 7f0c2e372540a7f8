"""What runs in the workers of `test_crash`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
from typing import Any, TextIO

from aiocluster import current_worker

from .inside_cluster import serve


async def answer_slowly_and_crash() -> None:
    """Answers each request when a message says so; the message "crash" is a crash."""
    worker = current_worker()
    crashing, answering = asyncio.Event(), asyncio.Event()
    worker.on("message", lambda event: (crashing if event.message == "crash" else answering).set())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await worker.send("asked")
        await answering.wait()
        body = b"%d" % os.getpid()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await crashing.wait()
    raise LookupError(f"crashed as told, with {server}")


async def break_down_when_told() -> None:
    def break_down(event: Any) -> None:
        ctypes.string_at(0)

    current_worker().on("message", break_down)
    await asyncio.Event().wait()


async def leave_a_task_alone() -> None:
    async def fail() -> None:
        raise LookupError("nobody awaits this")

    task = asyncio.ensure_future(fail())
    while not task.done():
        await asyncio.sleep(0)
    del task
    await current_worker().send("still here")
    await serve()


_lock: list[TextIO] = []


async def serve_or_crash_if_second(lock: str) -> None:
    """The first to get the lock is well, and serves; any other one crashes."""
    file = open(lock, "w")
    _lock.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LookupError("crashed as the second one") from None
    await serve()
