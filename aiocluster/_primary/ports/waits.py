"""A histogram of how long connections waited until a worker took them. Pure.

A wait has two parts. In the kernel's queue, as the socket tells (`_wire.queue_time`); from the accept until the worker
says that it has taken the connection, as the primary sees it. Where a worker accepts, there is only the first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the buckets, in seconds. Beyond the last one there is one more bucket."""


class Waits:
    """Counts connections by how long they waited.

    Attributes:
        seconds: How long all of them waited together.
    """

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(BOUNDS) + 1)
        self.seconds: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """So many connections have been taken that waited so long each."""
        self.counts[bisect_left(BOUNDS, seconds)] += count
        self.seconds += seconds * count

    def cumulated(self) -> Iterator[tuple[float | None, int]]:
        """Yields each bound, None for the last one, with how many waited at most so long."""
        total = 0
        for bound, count in zip((*BOUNDS, None), self.counts, strict=True):
            total += count
            yield bound, total
