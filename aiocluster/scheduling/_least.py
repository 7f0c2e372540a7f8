"""The base of policies that pick the worker with the least load."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Any

from .policy import C, Policy


class Least(Policy[C]):
    """Picks the worker with the least load; among equals, the one that has had that load for the longest time.

    Subclasses define load. A pick counts as a connection at once, before `changed` is called.

    Workers with the same load are in one bucket, and the loads of the buckets in a heap. The load of an emptied bucket
    stays in the heap until it is the lowest, or until the heap holds many more loads than there are buckets. So the
    cost of picks and changes grows with the logarithm of the number of different loads, not of workers.

    Whoever has one connection fewer than the next to be picked, but no room for it, is waited for: so of connections
    that come together, each worker gets as many even if there are more than have room. Nobody waits for one that has
    still fewer, such as a new one: all would, while the others have nothing to do.
    """

    sticky = False
    pulls = True

    def __init__(self) -> None:
        self._entries: dict[C, tuple[float, int]] = {}  # load, connections
        self._buckets: dict[float, OrderedDict[C, None]] = {}
        self._loads: list[float] = []
        self._away: dict[C, tuple[int, int]] = {}  # weight, connections
        self._away_with: dict[tuple[int, int], dict[C, None]] = {}

    @abstractmethod
    def _load(self, worker: C, connections: int) -> float:
        """The load of this worker if it had one connection more than ``connections``."""

    def add(self, worker: C) -> None:
        connections = worker.connections
        self._come(worker)
        self._enter(worker, self._load(worker, connections), connections)

    def remove(self, worker: C) -> None:
        load, connections = self._entries.pop(worker)
        self._take_out(worker, load)
        self._go(worker, connections)

    def forget(self, worker: C) -> None:
        self._come(worker)

    def awaited(self) -> Iterable[C]:
        if not self._away:
            return ()
        worker = self._first()
        return self._away_with.get((worker.weight, self._entries[worker][1] - 1), ())

    def changed(self, worker: C) -> None:
        if (entry := self._entries.get(worker)) is not None:
            self._count(worker, *entry, worker.connections)
        elif self._come(worker):
            self._go(worker, worker.connections)

    def pick(self, client: Any) -> C:
        worker = self._first()
        self._take(worker)
        return worker

    def _take(self, worker: C) -> None:
        """Counts a connection more for this worker."""
        load, connections = self._entries[worker]
        self._take_out(worker, load)
        self._enter(worker, self._load(worker, connections + 1), connections + 1)

    def _first(self) -> C:
        loads, buckets = self._loads, self._buckets
        while (bucket := buckets.get(loads[0])) is None:
            heappop(loads)
        return next(iter(bucket))

    def _go(self, worker: C, connections: int) -> None:
        key = self._away[worker] = worker.weight, connections
        self._away_with.setdefault(key, {})[worker] = None

    def _come(self, worker: C) -> bool:
        """Returns whether it was away."""
        key = self._away.pop(worker, None)
        if key is None:
            return False
        beside = self._away_with[key]
        del beside[worker]
        if not beside:
            del self._away_with[key]
        return True

    def _count(self, worker: C, load: float, before: int, connections: int) -> None:
        """It has so many connections, where it had ``load`` by ``before``."""
        now = self._load(worker, connections)
        if now != load:
            self._take_out(worker, load)
            self._enter(worker, now, connections)
        elif connections != before:
            self._entries[worker] = load, connections

    def _take_out(self, worker: C, load: float) -> None:
        bucket = self._buckets[load]
        del bucket[worker]
        if not bucket:
            del self._buckets[load]

    def _enter(self, worker: C, load: float, connections: int) -> None:
        self._entries[worker] = load, connections
        bucket = self._buckets.get(load)
        if bucket is None:
            self._buckets[load] = OrderedDict({worker: None})
            heappush(self._loads, load)
            if len(self._loads) > 2 * len(self._buckets) + 32:
                self._loads = list(self._buckets)
                heapify(self._loads)
        else:
            bucket[worker] = None
