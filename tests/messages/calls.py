"""What `test_call` calls in a worker."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from aiocluster import current_worker


def where(*args: Any) -> list[Any]:
    """The pid, whether an event loop runs in this thread, and the arguments."""
    return [os.getpid(), asyncio._get_running_loop() is not None, list(args)]


async def where_async(*args: Any) -> list[Any]:
    return where(*args)


def wait_for_file(path: str) -> int:
    while not os.path.exists(path):
        time.sleep(0.002)
    return os.getpid()


async def wait() -> None:
    await current_worker().send("begun")
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        await current_worker().send("cancelled")
        raise


def fail(text: str) -> None:
    raise ValueError(text)


async def fail_async(text: str) -> None:
    raise ValueError(text)


def unpackable() -> object:
    return object()


def sleep() -> None:
    """A target without an event loop."""
    time.sleep(3600)
