"""A few workers, connected to each other and to the test, which has them call the functions of `inside`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiocluster import Primary, WorkerProcess
from aiocluster.events import Event

from . import inside


class Party:
    """The workers, and the primary's events as they came."""

    def __init__(self, primary: Primary, workers: list[WorkerProcess]) -> None:
        self.primary = primary
        self.workers = workers
        self.events: list[Event] = []
        self._more = asyncio.Event()
        for name in ("message", "undelivered", "error"):
            primary.on(name, self._heard)

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    async def hears(self, name: str, count: int) -> list[Any]:
        """The first ``count`` events of that name in the primary."""
        while len(found := [event for event in self.events if event.name == name]) < count:
            self._more.clear()
            await self._more.wait()
        return found[:count]

    def heard(self, name: str) -> list[Any]:
        """The events of that name in the primary until now."""
        return [event for event in self.events if event.name == name]


@asynccontextmanager
async def party(count: int, **settings: Any) -> AsyncIterator[Party]:
    """So many workers that are online and know each other."""
    is_uvloop = type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    settings.setdefault("loop", "auto" if is_uvloop else "asyncio")
    async with Primary(inside.stay, **settings) as primary:
        workers = [await primary.fork() for _ in range(count)]
        for worker in workers:
            await worker.wait_for("online")
        yield Party(primary, workers)


async def is_stopped(worker: WorkerProcess) -> None:
    """Returns when a worker that was sent SIGSTOP has stopped."""
    await until(lambda: _state(worker.pid) == "T")


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def until(condition: Callable[[], bool]) -> None:
    """Returns when a condition holds that nothing announces."""
    while not condition():
        await asyncio.sleep(0.002)
