"""The state in memory. Pure: it is given the time."""

from __future__ import annotations

import heapq

import msgpack

from .engine import Changed
from .store import MAX_PAGE, News, added

_KEY, _LOCK = 0, 1
_SPARE = 64  # entries that are outdated, before the heap is made anew


class MemoryStore:
    """Keeps all in dicts.

    Args:
        token: The last fencing token that has been given, by whomever.

    Attributes:
        news: What has happened since it was last taken from there.
        is_watched: Whether changes are to be in the news.
    """

    def __init__(self, token: int = 0) -> None:
        self.news: News = News()
        self.is_watched: bool = False
        self._values: dict[str, bytes] = {}
        self._ends: dict[str, float] = {}  # of the keys that expire
        self._locks: dict[str, tuple[str, int, float]] = {}  # owner, token, end
        self._token = token
        self._heap: list[tuple[float, int, str]] = []  # what may expire, and when; outdated entries included

    # ---- keys

    def get(self, now: float, key: str) -> bytes | None:
        if key in self._ends and self._ends[key] <= now:
            self._remove(key)
        return self._values.get(key)

    def set(self, now: float, key: str, value: bytes, ttl: float | None, if_absent: bool) -> bool:
        if if_absent and self.get(now, key) is not None:
            return False
        if ttl is not None:
            self._expire_at(key, now + ttl)
        elif key in self._ends:
            del self._ends[key]
        self._put(key, value)
        return True

    def delete(self, now: float, key: str) -> bool:
        if self.get(now, key) is None:
            return False
        self._remove(key)
        return True

    def incr(self, now: float, key: str, by: int, ttl: float | None) -> int:
        body = self.get(now, key)
        total = added(body, by, key)
        if body is None and ttl is not None:
            self._expire_at(key, now + ttl)
        self._put(key, msgpack.packb(total))
        return total

    def replace(self, now: float, key: str, expected: bytes, value: bytes) -> bool:
        if self.get(now, key) != expected:
            return False
        self._put(key, value)
        return True

    def keys(self, now: float, prefix: str, after: str | None) -> list[str]:
        self.expire(now)
        found = [key for key in self._values if key.startswith(prefix)]
        if after is not None:
            found = [key for key in found if key > after]
        return sorted(found) if len(found) < MAX_PAGE else heapq.nsmallest(MAX_PAGE, found)

    def _put(self, key: str, value: bytes) -> None:
        self._values[key] = value
        if self.is_watched:
            self.news.changes.append(Changed(key, value))

    def _remove(self, key: str) -> None:
        del self._values[key]
        self._ends.pop(key, None)
        if self.is_watched:
            self.news.changes.append(Changed(key, None))

    # ---- locks

    def acquire(self, now: float, name: str, owner: str, ttl: float) -> int | None:
        held = self._locks.get(name)
        if held is not None and held[2] > now:
            if held[0] != owner:
                return None
            token = held[1]  # it has asked before
        else:
            token = self._token = self._token + 1
        self._hold(name, owner, token, now + ttl)
        return token

    def renew(self, now: float, name: str, owner: str, ttl: float) -> bool:
        held = self._locks.get(name)
        if held is None or held[0] != owner or held[2] <= now:
            return False
        self._hold(name, owner, held[1], now + ttl)
        return True

    def release(self, now: float, name: str, owner: str) -> bool:
        held = self._locks.get(name)
        if held is None or held[0] != owner:
            return False
        self._free(name)
        return held[2] > now

    def _hold(self, name: str, owner: str, token: int, end: float) -> None:
        self._locks[name] = owner, token, end
        self._push(end, _LOCK, name)

    def _free(self, name: str) -> None:
        del self._locks[name]
        self.news.freed.append(name)

    # ---- expiry

    @property
    def next_expiry(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def expire(self, now: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now:
            end, kind, name = heapq.heappop(heap)
            if kind == _KEY:
                if self._ends.get(name) == end:
                    self._remove(name)
            elif (held := self._locks.get(name)) is not None and held[2] == end:
                self._free(name)

    def _expire_at(self, key: str, end: float) -> None:
        self._ends[key] = end
        self._push(end, _KEY, key)

    def _push(self, end: float, kind: int, name: str) -> None:
        if len(self._heap) > 2 * (len(self._ends) + len(self._locks)) + _SPARE:
            self._heap = [(end, _KEY, key) for key, end in self._ends.items()]
            self._heap += [(held[2], _LOCK, name) for name, held in self._locks.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (end, kind, name))
