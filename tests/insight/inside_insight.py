"""What runs in the workers of the tests of looking inside, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import os
import time

from aiocluster import current_worker
from aiocluster.events import Message


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def wait(seconds: float) -> None:
    time.sleep(seconds)


def nonsense(seconds: float) -> None:
    """Writes what is no frame on the side channel."""
    os.write(current_worker()._session.side.fileno(), b"\xff" * 100)


async def block_when_told() -> None:
    def told(event: Message) -> None:
        name, seconds = event.message
        {"wait": wait, "compute": compute, "nonsense": nonsense}[name](seconds)

    worker = current_worker()
    worker.on("message", told)
    worker.handle_requests(lambda message, sender: message)
    await asyncio.get_running_loop().create_future()


async def leaf() -> None:
    await asyncio.Event().wait()


async def middle() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leaf(), name="first leaf")
        group.create_task(leaf(), name="second leaf")


async def with_tasks() -> None:
    """Tasks that wait for others in all the ways there are."""
    alone = asyncio.create_task(leaf(), name="alone")
    directly = asyncio.create_task(awaits(asyncio.create_task(leaf(), name="awaited")), name="awaits")
    shielded = asyncio.create_task(awaits_shielded(asyncio.create_task(leaf(), name="shielded")), name="shields")
    waited = asyncio.create_task(waits_for(asyncio.create_task(leaf(), name="waited for")), name="waits")
    group = asyncio.create_task(middle(), name="middle")
    await current_worker().send("ready")
    await asyncio.gather(group, directly, shielded, waited)
    await alone


async def awaits(task: asyncio.Task[None]) -> None:
    await task


async def awaits_shielded(task: asyncio.Task[None]) -> None:
    await asyncio.shield(task)


async def waits_for(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
