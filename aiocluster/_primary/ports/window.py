"""How many connections a worker may be sent before it is ready with them. Sans-I/O: times are arguments.

A worker says that it is *ready* with connections once its event loop has gone round some times since they came: by
then a first request that was there has been served. It also says how long these took. From that follows its window: as
many connections as it is through with in `BUDGET` seconds, from 1 to `MOST`. So connections whose requests keep an
event loop busy are sent one by one, as workers become free, and quick ones in batches.
"""

from __future__ import annotations

import math
from collections import deque

MOST = 16
"""The largest window."""

BUDGET = 0.003
"""Seconds that a window is worth."""

LATE = 0.005
"""Seconds after which a worker that is not ready with a connection gets no more: something else keeps it busy."""

_FADES = 1.0  # seconds without connections after which what is known of them counts no more
_MEMORY = 16  # connections over which the seconds that one takes are smoothed


class Window:
    """One worker's, at one port.

    Attributes:
        size: How many connections it may be sent before it is ready with them.
        unready: How many it has been sent and is not ready with.
        seconds: How long one connection takes, smoothed.
    """

    __slots__ = ("_last", "_sent", "seconds", "size", "unready")

    def __init__(self) -> None:
        self.size = MOST
        self.unready = 0
        self.seconds = 0.0
        self._last = 0.0
        self._sent: deque[tuple[float, int]] = deque()  # when, and how many

    @property
    def room(self) -> int:
        """How many more it may be sent; not above 0 if it is full."""
        return self.size - self.unready

    @property
    def busy_since(self) -> float:
        """Since when it has been busy with its oldest connection; math.inf if it is not."""
        return max(self._sent[0][0], self._last) if self._sent else math.inf

    def is_late(self, now: float) -> bool:
        """Whether it has been sent a connection long ago and is not ready with it yet."""
        return bool(self._sent) and now - self._sent[0][0] > LATE

    def sent(self, count: int, now: float) -> None:
        """It has been sent so many."""
        if not self.unready and now - self._last > _FADES:
            self.size, self.seconds = MOST, 0.0
        self._sent.append((now, count))
        self.unready += count

    def returned(self, count: int) -> None:
        """It does not take so many of those that it was sent."""
        self._drop(count)

    def ready(self, count: int, seconds: float, now: float) -> None:
        """It is ready with so many, the oldest, which took so long together."""
        self._drop(count)
        self._last = now
        if count:
            self.seconds += min(1.0, count / _MEMORY) * (seconds / count - self.seconds)
            self.size = max(1, min(MOST, int(BUDGET / self.seconds))) if self.seconds > 0 else MOST

    def _drop(self, count: int) -> None:
        self.unready -= count
        while count > 0 and self._sent:
            when, first = self._sent.popleft()
            if first > count:
                self._sent.appendleft((when, first - count))
            count -= first
