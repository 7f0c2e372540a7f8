"""The regular report of a worker: how late and how busy its loop is, memory and tasks."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Callable

from .._wire.frames import REST
from .busy import BusyMeter

_PAGE = resource.getpagesize()


_IDLE = 0.01  # of its time, at most, for a beat to be idle
_IDLE_BEATS = 10  # without a break, after which a worker rests


class Heartbeat:
    """Measures the event loop and the process at regular intervals.

    A worker that has nothing to do for a while rests, so that hundreds of them cost next to nothing. Whoever gives it
    something to do calls `wake`; what it does unasked shows with the next report.

    Args:
        interval: Seconds between reports.
        report: Called with the seconds that the loop was late, the share of time that it was busy (0.0 to 1.0; None:
            unknown), the bytes of resident memory, the number of tasks, and the seconds until the next report.
        may_rest: Returns whether it may report less often if its loop is idle.
    """

    def __init__(
        self,
        interval: float,
        report: Callable[[float, float | None, int, int, float], None],
        may_rest: Callable[[], bool],
    ) -> None:
        self._interval = interval
        self._report = report
        self._may_rest = may_rest
        self.meter: BusyMeter = BusyMeter()
        self._timer: asyncio.TimerHandle | None = None
        self._idle_beats = 0
        self._last = (0, 0)  # memory and tasks

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts reporting on this loop."""
        self.meter.start(loop)
        self._idle_beats = 0
        self._schedule(loop, self._interval)

    def _schedule(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._timer = loop.call_later(seconds, self._beat, loop, loop.time() + seconds)

    def stop(self) -> None:
        """Stops reporting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """There is something to do. If it rests, it says at once that it does no more: its loop may be blocked soon."""
        is_resting, self._idle_beats = self._idle_beats >= _IDLE_BEATS, 0
        if is_resting and self._timer is not None:
            self._timer.cancel()
            self._report(0.0, self.meter.take(), *self._last, self._interval)
            self._schedule(asyncio.get_running_loop(), self._interval)

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        delay = max(0.0, loop.time() - due)
        busy = self.meter.take()
        is_idle = busy is not None and busy <= _IDLE and self._may_rest()
        self._idle_beats = self._idle_beats + 1 if is_idle else 0
        seconds = self._interval if self._idle_beats < _IDLE_BEATS else REST * self._interval
        self._last = resident_memory(), len(asyncio.all_tasks(loop))
        self._report(delay, busy, *self._last, seconds)
        self._schedule(loop, seconds)


def resident_memory() -> int:
    """Returns the resident memory of this process in bytes; without /proc, its peak so far."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
