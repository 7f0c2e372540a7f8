"""When what is known of a port's workers counts no more: after a pause. Sans-I/O: times are arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from .window import Window

QUIET = 0.02
"""Seconds without a new connection after which there has been a pause."""

SETTLES = 1.0
"""Seconds after which policies count connections anew, although there has been no pause."""


class Pauses:
    """Notices the pauses of one port.

    Args:
        settle: Has the policy count connections anew.
        windows: Returns the windows of the workers to which connections go.
    """

    def __init__(self, settle: Callable[[], None], windows: Callable[[], Collection[Window]]) -> None:
        self._settle = settle
        self._windows = windows
        self._last = -math.inf
        self._settled = -math.inf

    def came(self, now: float) -> None:
        """Connections have come."""
        is_pause = now - self._last > QUIET
        self._last = now
        if is_pause and not any(window.unready for window in self._windows()):
            for window in self._windows():
                window.forget()
        if is_pause or now - self._settled > SETTLES:
            self._settled = now
            self._settle()
