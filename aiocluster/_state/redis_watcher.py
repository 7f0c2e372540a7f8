"""One who watches a prefix of the state in a Redis."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Sequence

from ..errors import ClusterError
from .backlog import Backlog
from .engine import Changed

_LATER = 0.02  # seconds after a key's time until it is looked at: two clocks never go alike
_AGAIN = 500  # milliseconds until it is looked at again, if that failed
_AT_ONCE = 1000  # keys

Ttls = Callable[[Sequence[str]], Awaitable[Sequence[int]]]


class Watcher:
    """The changes that have been published, and the keys that have expired, of which Redis says nothing.

    Args:
        ttls: Asks how many milliseconds these keys will live: -1: forever; -2: they are not there.
    """

    def __init__(self, ttls: Ttls) -> None:
        self._ttls = ttls
        self._backlog = Backlog()
        self._ends: dict[str, float] = {}  # of the keys that expire
        self._heap: list[tuple[float, str]] = []  # the same, the next one first; outdated entries included
        self._has_news = asyncio.Event()
        self._is_sooner = asyncio.Event()
        self._error: ClusterError | None = None
        self._heard: set[str] | None = set()  # keys that have changed since it began, until it knows all ends

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Changed:
        while not self._backlog:
            if self._error is not None:
                raise type(self._error)(*self._error.args)
            self._has_news.clear()
            await self._has_news.wait()
        return self._backlog.take()

    # ---- what happens

    def put(self, key: str, value: bytes | None, ttl: int) -> None:
        """A change was published; ``ttl`` is in milliseconds, 0 or less if it does not expire."""
        if self._heard is not None:
            self._heard.add(key)
        self._backlog.put(Changed(key, value))
        self._has_news.set()
        self._expire_in(key, ttl)

    def fail(self, error: ClusterError) -> None:
        """Changes may have been missed: the iterator raises that after those that are known."""
        self._error = error
        self._has_news.set()

    def _expire_in(self, key: str, ttl: int) -> None:
        if ttl <= 0:
            self._ends.pop(key, None)
            return
        end = asyncio.get_running_loop().time() + ttl / 1000 + _LATER
        self._ends[key] = end
        if len(self._heap) > 2 * len(self._ends) + 64:
            self._heap = [(end, key) for key, end in self._ends.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (end, key))
        if self._heap[0][1] == key:
            self._is_sooner.set()

    # ---- what expires

    async def begin(self, keys: Sequence[str]) -> None:
        """Asks when these keys will expire, which are all that there are."""
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            for key, ttl in zip(some, await self._ttls(some), strict=True):
                if self._heard is not None and key not in self._heard:
                    self._expire_in(key, ttl)
        self._heard = None

    async def expire(self) -> None:
        """Tells of keys that have expired, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._is_sooner.clear()
            wait = self._heap[0][0] - loop.time() if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._is_sooner.wait()
            except TimeoutError:
                await self._look(self._due(loop.time()))

    def _due(self, now: float) -> dict[str, float]:
        due: dict[str, float] = {}
        while self._heap and self._heap[0][0] <= now and len(due) < _AT_ONCE:
            end, key = heapq.heappop(self._heap)
            if self._ends.get(key) == end:
                due[key] = end
        return due

    async def _look(self, due: dict[str, float]) -> None:
        try:
            ttls: Sequence[int] = await self._ttls(list(due))
        except ClusterError:
            ttls = [_AGAIN] * len(due)
        for (key, end), ttl in zip(due.items(), ttls, strict=True):
            if self._ends.get(key) != end:
                continue  # it has changed meanwhile
            if ttl == -2:
                del self._ends[key]
                self._backlog.put(Changed(key, None))
                self._has_news.set()
            else:
                self._expire_in(key, max(ttl, 1) if ttl >= 0 else ttl)
