"""Threads that compute beside an event loop, and let it run now and then.

Python lets a computing thread run for 5 ms before another one gets its turn, and each of the loop's turns would wait
for that. A thread that offers one after each fraction of a millisecond takes little longer itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_EACH = 256  # items: a millisecond or less; each turn has its price where processes compete for the processors


def let_others_run() -> None:
    """Gives other threads a turn."""
    time.sleep(0)


def in_turns(items: Iterable[T]) -> Iterator[T]:
    """Yields these, and gives other threads a turn now and then."""
    for count, item in enumerate(items, 1):
        yield item
        if not count % _EACH:
            let_others_run()


class InTurns(Generic[T]):
    """Parts of a whole, each of which is gone through without giving a turn; between two of them others get theirs."""

    def __init__(self, *parts: Iterable[T]) -> None:
        self._parts = list(parts)

    def append(self, part: Iterable[T]) -> None:
        """Adds a part."""
        self._parts.append(part)

    def __iter__(self) -> Iterator[T]:
        for part in self._parts:
            yield from part
            let_others_run()
