"""Each worker in turn, in proportion to its weight."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from math import gcd
from typing import Any

from ._turns import Turns
from .policy import C


class WeightedRoundRobin(Turns[C]):
    """Picks workers in turn, in proportion to their weights, and interleaved: weights 5, 1, 1 give a a b a c a a.

    This is nginx's smooth weighted round robin (its ``ngx_http_upstream_round_robin.c``). Over a period, which is the
    sum of the weights divided by their greatest common divisor, the shares are exact. A new period begins when a worker
    joins or is forgotten. The order of the first period is kept, so later picks cost the same with any number of
    workers. In the first period, the cost of a pick grows with the number of different weights.
    """

    sticky = False

    def __init__(self) -> None:
        super().__init__()
        self._workers: list[C] = []
        self._order: Iterator[int] | None = None

    def pick(self, client: Any) -> C:
        if self._owed:
            return self._pay_back()
        while (worker := self._next()) in self._away:
            self._miss(worker)
        return worker

    def _join(self, worker: C) -> None:
        self._workers.append(worker)
        self._order = None

    def _leave(self, worker: C) -> None:
        self._workers.remove(worker)
        self._order = None

    def _next(self) -> C:
        if self._order is None:
            self._order = itertools.cycle(smooth([worker.weight for worker in self._workers]))
        return self._workers[next(self._order)]


def smooth(weights: Sequence[int]) -> Iterator[int]:
    """One period of smooth weighted round robin, as indices into ``weights``.

    At each step, every worker's credit grows by its weight. The worker with the highest credit, and among equals the
    first, is next and pays the sum of all weights. Workers of the same weight form a group and take turns, so each step
    looks at only one worker of a group. What that worker has paid follows from the turns of its group.
    """
    divisor = gcd(*weights)
    total = sum(weights) // divisor
    groups: dict[int, list[int]] = {}
    for index, weight in enumerate(weights):
        groups.setdefault(weight // divisor, []).append(index)
    turns = dict.fromkeys(groups, 0)
    for step in range(1, total + 1):
        highest: tuple[int, int] | None = None
        chosen = 0
        for weight, group in groups.items():
            rounds, position = divmod(turns[weight], len(group))
            credit = (weight * step - total * rounds, -group[position])
            if highest is None or credit > highest:
                highest, chosen = credit, weight
        group = groups[chosen]
        yield group[turns[chosen] % len(group)]
        turns[chosen] += 1
