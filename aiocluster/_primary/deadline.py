"""`Deadline`: the time by which a process must have ended, whoever told it to, and what happens if it has not."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable
from typing import Final

OWN_END: Final = 1.0
"""Seconds after the deadline in which a process may still end by itself, before SIGTERM."""
TERM_TIMEOUT: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""


class Deadline:
    """Ends a process that outlasts the time it was given: by SIGTERM, and then by SIGKILL.

    It is kept with the process and not with who asked for the end: a caller that is cancelled changes nothing about it.

    Args:
        kill: Sends the process a signal. Called from the running loop.
    """

    def __init__(self, kill: Callable[[signal.Signals], None]) -> None:
        self._kill = kill
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False

    def set(self, seconds: float) -> bool:
        """Gives the process so many seconds from now. Returns False if it has no more than that already."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._is_over or at >= self._at:
            return False
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = loop.call_at(at + OWN_END, self._end, signal.SIGTERM)
        return True

    def cancel(self) -> None:
        """The process has ended."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, number: signal.Signals) -> None:
        self._at = -math.inf  # too late for another one
        if number is signal.SIGTERM:  # from now on, not from when SIGTERM was due: this loop may have been blocked
            self._timer = asyncio.get_running_loop().call_later(TERM_TIMEOUT, self._end, signal.SIGKILL)
        self._kill(number)
