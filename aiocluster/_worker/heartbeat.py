"""The regular report of a worker: how late and how busy its loop is, memory and tasks."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Callable

from .busy import BusyMeter

_PAGE = resource.getpagesize()


class Heartbeat:
    """Measures the event loop and the process at regular intervals.

    Args:
        interval: Seconds between reports.
        report: Called with the seconds that the loop was late, the share of time that it was busy (0.0 to 1.0; None:
            unknown), the bytes of resident memory, and the number of tasks.
    """

    def __init__(self, interval: float, report: Callable[[float, float | None, int, int], None]) -> None:
        self._interval = interval
        self._report = report
        self.meter: BusyMeter = BusyMeter()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts reporting on this loop."""
        self.meter.start(loop)
        self._schedule(loop)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._interval, self._beat, loop, loop.time() + self._interval)

    def stop(self) -> None:
        """Stops reporting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        delay = max(0.0, loop.time() - due)
        self._report(delay, self.meter.take(), resident_memory(), len(asyncio.all_tasks(loop)))
        self._schedule(loop)


def resident_memory() -> int:
    """Returns the resident memory of this process in bytes; without /proc, its peak so far."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
