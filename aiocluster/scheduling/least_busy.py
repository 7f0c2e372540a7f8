"""The worker that has the least to do, by its connections and by how busy its event loop is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from ._least import Least
from .policy import C

_NOISE = 0.2
"""Shares of time by which a worker must differ from the mean to count as busier, or less busy, than others.

Equal workers differ, too, by up to 0.15: where one request in twenty blocks for 100 ms and the others for 4 ms, with
all workers busy for 60 % of the time.
"""

_LOOKED_AT = 4  # workers with the same load, for one that is ready

_LEAST_IDLE = 0.02  # of a worker that is always busy, so that its connections still count


class LeastBusy(Least[C]):
    """Picks the worker with the fewest connections, where those of a busier worker count more.

    Connections count in proportion to the time that is left: one to a worker that is idle for 20 % of the time counts
    like four to workers that are idle for 80 %. Only who differs notably from the mean of all is busier, or less busy.
    So among workers with equal work, this is `LeastConnections`: of k·n connections, each of n workers gets exactly k.
    Connections count at once, and correct what a share, which is some seconds old, does not show yet.

    While connections come and go, chance decides who has one fewer at a moment. So the worker whose turn it is gets the
    next one even if another had as many a moment ago, as long as it is ready with all that it has.

    Weights count as in `LeastConnections`. Workers that don't tell how busy they are count like the mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_ready: Callable[[C], bool] = _yes
        self._busy: dict[C, float | None] = {}  # of all workers, also of those that may not be picked now
        self._factors: dict[C, float] = {}
        self._turns: OrderedDict[C, None] = OrderedDict()  # those that may be picked, whose turn is next first
        self._picked: dict[C, int] = {}  # the number of the last pick of each
        self._picks = 0
        self._closed: set[C] = set()  # those of whose connections some have been closed since they were picked
        self._mean = 0.0
        self._learned = 0

    def attach(self, is_ready: Callable[[C], bool]) -> None:
        self._is_ready = is_ready

    def pick(self, client: Any) -> C:
        worker, turn = self._fewest(), next(iter(self._turns))
        if turn is not worker and self._may_have_turn(turn, worker):
            worker = turn
        self._take(worker)
        self._closed.discard(worker)
        self._turns.move_to_end(worker)
        self._picks += 1
        self._picked[worker] = self._picks
        return worker

    def _fewest(self) -> C:
        """The worker with the least load; among the first of several one that is ready, if there is one."""
        first = self._first()
        equals = islice(self._buckets[self._entries[first][0]], _LOOKED_AT)
        return next(filter(self._is_ready, equals), first)

    def _may_have_turn(self, turn: C, worker: C) -> bool:
        """Whether the worker whose turn it is gets the next one, although this one has no more than it."""
        most, connections = self._entries[worker]
        if worker in self._closed:
            most = self._load(worker, connections + 1)
        return self._entries[turn][0] <= most and self._is_ready(turn)

    def remove(self, worker: C) -> None:
        super().remove(worker)
        del self._turns[worker]
        self._closed.discard(worker)

    def add(self, worker: C) -> None:
        self._turns[worker] = None
        first = next(iter(self._turns))
        if self._picked.setdefault(worker, self._picks) < self._picked[first]:
            self._turns.move_to_end(worker, last=False)  # it had no room for a moment, and has not lost its turn
        if worker not in self._busy or worker.busy != self._busy[worker]:
            self._learn(worker, worker.busy)
        super().add(worker)

    def forget(self, worker: C) -> None:
        super().forget(worker)
        self._busy.pop(worker, None)
        self._factors.pop(worker, None)
        self._picked.pop(worker, None)

    def awaited(self) -> Iterable[C]:
        return [worker for worker in super().awaited() if self._factors[worker] <= 1.0]  # nobody waits for a busier one

    def changed(self, worker: C) -> None:
        if worker in self._busy and worker.busy != self._busy[worker]:
            self._learn(worker, worker.busy)
        if (entry := self._entries.get(worker)) is not None and worker.connections < entry[1]:
            self._closed.add(worker)
        super().changed(worker)

    def _learn(self, worker: C, busy: float | None) -> None:
        """Takes a worker's share. After as many of these as there are workers, looks at all workers anew."""
        self._busy[worker] = busy
        self._learned += 1
        if self._learned < len(self._busy):
            self._factors[worker] = self._factor(busy)
            return
        self._learned = 0
        known = [share for share in self._busy.values() if share is not None]
        self._mean = sum(known) / len(known) if known else 0.0
        for one, share in self._busy.items():
            self._factors[one] = self._factor(share)
            super().changed(one)

    def _factor(self, busy: float | None) -> float:
        """How much a connection to such a worker counts; 1.0 to most."""
        if busy is None or abs(busy - self._mean) <= _NOISE:
            return 1.0
        return (1.0 - self._mean + _LEAST_IDLE) / (1.0 - busy + _LEAST_IDLE)

    def _load(self, worker: C, connections: int) -> float:
        return self._factors[worker] * (connections + 1) / worker.weight


def _yes(worker: Any) -> bool:
    return True
