"""Policies that give each worker its turns, and remember those it missed."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from math import gcd
from typing import Any, TypeVar

from .policy import Candidate, Policy

W = TypeVar("W", bound=Hashable)
C = TypeVar("C", bound=Candidate)

MOST_OWED = 64
"""The most turns a worker gets back that it missed: one batch of accepted connections.

One that has missed more was not busy for a moment, but blocked or gone. It is forgotten, and owed nothing if it comes
back: it is likely to have enough to do.
"""


class Turns(Policy[W]):
    """The turns of all known workers, here or not: subclasses say whose turn is next.

    The turn of a worker that is not here goes to the next one, and is owed to it. Each such step is either a turn that
    it gets back or one of the `MOST_OWED` before it is forgotten, so that picking costs the same with any number of
    workers, on average.
    """

    def __init__(self) -> None:
        self._owed: dict[W, int] = {}
        self._away: dict[W, int] = {}

    @abstractmethod
    def _join(self, worker: W) -> None:
        """This worker is new, and has turns from now on."""

    @abstractmethod
    def _leave(self, worker: W) -> None:
        """This worker has no turns any more."""

    @abstractmethod
    def _next(self) -> W:
        """Whose turn it is. There is always somebody."""

    def add(self, worker: W) -> None:
        missed = self._away.pop(worker, None)
        if missed is None:
            self._join(worker)
        elif missed:
            self._owed[worker] = missed

    def remove(self, worker: W) -> None:
        self._away[worker] = self._owed.pop(worker, 0)

    def forget(self, worker: W) -> None:
        if self._away.pop(worker, None) is not None:  # else it has missed so many turns that it is forgotten already
            self._leave(worker)

    def pick(self, client: Any) -> W:
        if self._owed:
            return self._pay_back()
        worker = self._next()
        while worker in self._away:
            self._miss(worker)
            worker = self._next()
        return worker

    def _pay_back(self) -> W:
        worker = next(iter(self._owed))
        missed = self._owed.pop(worker)
        if missed > 1:
            self._owed[worker] = missed - 1  # behind the others that are owed some
        return worker

    def _miss(self, worker: W) -> None:
        self._away[worker] += 1
        if self._away[worker] > MOST_OWED:
            self.forget(worker)


class RoundRobin(Turns[W]):
    """Each in turn: k·n connections over n workers are k for each, exactly.

    A worker whose window was full for a moment gets the turns that it missed when it is back, up to `MOST_OWED`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ring: deque[W] = deque()

    def _join(self, worker: W) -> None:
        self._ring.append(worker)

    def _leave(self, worker: W) -> None:
        self._ring.remove(worker)

    def _next(self) -> W:
        worker = self._ring[0]
        self._ring.rotate(-1)
        return worker


class WeightedRoundRobin(Turns[C]):
    """In turn, in proportion to the weights, and well mixed: weights 5, 1, 1 make a a b a c a a.

    That is nginx's smooth weighted round robin (its ``ngx_http_upstream_round_robin.c``). Over a period, which is the
    sum of the weights divided by what they have in common, the shares are exact. A period begins anew when a worker
    joins or is forgotten, and is remembered, so that picking costs the same with any number of workers; in the first
    period it grows with the number of different weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self._workers: list[C] = []
        self._places: Iterator[int] | None = None

    def _join(self, worker: C) -> None:
        self._workers.append(worker)
        self._places = None

    def _leave(self, worker: C) -> None:
        self._workers.remove(worker)
        self._places = None

    def _next(self) -> C:
        if self._places is None:
            self._places = itertools.cycle(smooth([worker.weight for worker in self._workers]))
        return self._workers[next(self._places)]


def smooth(weights: Sequence[int]) -> Iterator[int]:
    """One period of smooth weighted round robin, as places in ``weights``.

    At each step everybody's credit grows by its weight; the one with the highest credit, the first of them, is next
    and pays the sum of all weights. Those of one weight take turns among each other, so only the one of them whose
    turn it is has to be looked at, and what it has paid follows from the turns of its group.
    """
    divisor = gcd(*weights)
    total = sum(weights) // divisor
    groups: dict[int, list[int]] = {}
    for place, weight in enumerate(weights):
        groups.setdefault(weight // divisor, []).append(place)
    turns = dict.fromkeys(groups, 0)
    for step in range(1, total + 1):
        highest: tuple[int, int] | None = None
        chosen = 0
        for weight, places in groups.items():
            rounds, position = divmod(turns[weight], len(places))
            credit = (weight * step - total * rounds, -places[position])
            if highest is None or credit > highest:
                highest, chosen = credit, weight
        places = groups[chosen]
        yield places[turns[chosen] % len(places)]
        turns[chosen] += 1
