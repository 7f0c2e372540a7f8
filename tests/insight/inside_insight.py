"""What runs in the workers of the tests of looking inside, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiocluster import current_worker
from aiocluster.events import Message


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def wait(seconds: float) -> None:
    time.sleep(seconds)


async def block_when_told() -> None:
    def told(event: Message) -> None:
        name, seconds = event.message
        {"wait": wait, "compute": compute}[name](seconds)

    current_worker().on("message", told)
    await asyncio.get_running_loop().create_future()


async def leaf(name: str) -> None:
    await asyncio.Event().wait()


async def with_tasks() -> Any:
    async def middle() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(leaf("a"), name="first leaf")
            group.create_task(leaf("b"), name="second leaf")

    await asyncio.gather(
        asyncio.create_task(middle(), name="middle"), asyncio.create_task(leaf("c"), name="third leaf")
    )
