"""How many connections a worker may be sent before it is ready with them. Sans-I/O: times are arguments.

A worker says that it is *ready* with connections once its event loop has gone round some times since they came: by
then a first request that was there has been served. It also says how long these took. From that follows its window: as
many connections as it is through with in `BUDGET` seconds, from 1 to `MOST`. So connections whose requests keep an
event loop busy are sent one by one, as workers become free, and quick ones in batches.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection

MOST = 16
"""The largest window."""

STICKY = 64
"""The window under a policy whose connections rather wait for their worker than go to another one."""

BUDGET = 0.003
"""Seconds that a window is worth."""

LATE = 0.2
"""Seconds after which a worker that is not ready with a connection gets no more: something else keeps it busy.

With less, a machine that has too much to do would look like a busy worker.
"""

HOLD = 0.05
"""Seconds for which a full worker may be worth waiting for. On a loaded machine it may have to wait for a processor."""

HOLD_IF_SLOW = 0.002
"""The same for one whose connections are known to take long: this one may be quick."""

_FEW = 4  # connections with which a window may grow: one may seem quick, whose request has come but was not read yet
_MEMORY = 16  # connections over which the seconds that one takes are smoothed; with fewer, they are not known well


class Window:
    """One worker's, at one port.

    Args:
        is_sticky: Whether connections rather wait for this worker than go to another one: the window then does not
            shrink, and the worker is never late.

    Attributes:
        size: How many connections it may be sent before it is ready with them.
        unready: How many it has been sent and is not ready with.
        seconds: How long one connection takes, smoothed.
        late_at: The time from which it is late, unless it is ready with its oldest connection before.
    """

    __slots__ = ("_is_sticky", "_known", "_last", "_sent", "late_at", "seconds", "size", "unready")

    def __init__(self, *, is_sticky: bool = False) -> None:
        self.size = STICKY if is_sticky else MOST
        self.unready = 0
        self.seconds = 0.0
        self.late_at = math.inf
        self._is_sticky = is_sticky
        self._known = 0  # connections that the average is of, at most `_MEMORY`
        self._last = -math.inf
        self._sent: deque[list[float]] = deque()  # when, and how many

    @property
    def room(self) -> int:
        """How many more it may be sent; not above 0 if it is full."""
        return self.size - self.unready

    def expect(self, seconds: float, now: float) -> None:
        """It has been sent none yet, and its connections will take as long as other workers': so many seconds each."""
        if seconds:
            self.seconds, self._known, self._last = seconds, 1, now
            self._resize()

    @property
    def busy_since(self) -> float:
        """Since when it has been busy with its oldest connection; math.inf if it is not."""
        return max(self._sent[0][0], self._last) if self._sent else math.inf

    def is_late(self, now: float) -> bool:
        """Whether it has been sent a connection long ago and is not ready with it yet."""
        return now >= self.late_at

    @property
    def held_until(self) -> float:
        """Until when it is worth waiting for, if it is full."""
        is_slow = self.size == 1 and self._known == _MEMORY
        return self.late_at - LATE + (HOLD_IF_SLOW if is_slow else HOLD)

    def sent(self, count: int, now: float) -> None:
        """It has been sent so many."""
        sent = self._sent
        if sent and sent[-1][0] == now:
            sent[-1][1] += count
        else:
            if not self.unready:
                self._be_late_after(now)
            sent.append([now, count])
        self.unready += count

    def forget(self) -> None:
        """The next connections may be others than before: two are sent to find out how long they take."""
        self._known, self.seconds, self.size = 0, 0.0, max(2, self.size)

    def ready(self, count: int, seconds: float, now: float, *, told: int | None = None) -> None:
        """It is ready with so many, the oldest. So many as ``told`` took so many seconds together.

        Args:
            count: How many it is ready with.
            seconds: For how long its loop was busy.
            now: A monotonic time, in seconds.
            told: With how many it was busy; None: as many as it is ready with. 0: those before took longer.
        """
        told = count if told is None else told
        self._last = now
        if told or seconds:
            self._known = max(1, min(_MEMORY, self._known + told))
            self.seconds += (seconds - told * self.seconds) / max(told, self._known)
            self._resize()
        self.drop(count)

    def drop(self, count: int) -> None:
        """So many, the oldest, are its no more."""
        self.unready -= count
        sent = self._sent
        while count > 0 and sent:
            first = sent[0]
            if first[1] > count:
                first[1] -= count
                break
            count -= int(first[1])
            sent.popleft()
        if sent:
            self._be_late_after(sent[0][0])
        else:
            self.late_at = math.inf

    def _be_late_after(self, when: float) -> None:
        if not self._is_sticky:
            self.late_at = when + LATE

    def _resize(self) -> None:
        size = MOST if self.seconds * MOST <= BUDGET else max(1, int(BUDGET / self.seconds))
        if not self._is_sticky and (size < self.size or self._known >= _FEW):
            self.size = size


def usual_seconds(windows: Collection[Window]) -> float:
    """Returns how long one connection takes a worker, by what these workers have done; 0.0 if that is nothing yet."""
    known = [window.seconds for window in windows if window.seconds]
    return sum(known) / len(known) if known else 0.0
