"""What runs in the workers of `test_health`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import signal
import time

from aiocluster import current_worker
from aiocluster.events import Message

from .inside_cluster import serve


def block_for_ever() -> None:
    while True:
        time.sleep(3600)


async def block_when_told() -> None:
    current_worker().on("message", lambda event: block_for_ever())
    await serve()


async def ignore_all_and_block_when_told() -> None:
    for number in (signal.SIGABRT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    await block_when_told()


def no_loop_for_a_while() -> None:
    time.sleep(1.0)
    asyncio.run(serve())


def no_loop_between_two() -> None:
    asyncio.run(asyncio.sleep(0.1))
    time.sleep(1.0)
    asyncio.run(serve())


async def grow_when_told() -> None:
    held = []
    current_worker().on("message", lambda event: held.append(b"x" * event.message))
    await serve()


async def serve_with_a_task() -> None:
    task = asyncio.create_task(asyncio.sleep(3600))
    await serve()
    del task


async def serve_and_block_at_times() -> None:
    """Once it has got a message, it blocks its loop for so many seconds, with pauses of 10 ms."""

    def block(event: Message) -> None:
        time.sleep(event.message)
        asyncio.get_running_loop().call_later(0.01, block, event)

    current_worker().on("message", block)
    await serve()
