"""Which processes there are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

INSIDE = Path(__file__).with_name("inside.py")


def alive(marker: str) -> list[int]:
    """The processes that have not ended and whose command line has this in it."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if marker in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["pid"])
    return found


async def until(condition: Callable[[], Any]) -> None:
    """Returns when this is so; it is another process's doing, so there is nothing to await."""
    while not condition():
        await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    """Returns when that child of ours has ended and been reaped."""
    await until(lambda: not psutil.pid_exists(pid))


async def read_all(stream: Any) -> bytes:
    """Everything up to the end of a stream."""
    data = b""
    async for more in stream:
        data += more
    return data


def is_root() -> bool:
    return os.getuid() == 0
