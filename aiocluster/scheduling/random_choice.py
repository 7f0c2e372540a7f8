"""A random worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .policy import Policy, W


class Random(Policy[W]):
    """Picks a worker at random, all with the same probability. Weights do not count.

    Args:
        chance: Returns numbers in [0.0, 1.0), like `random.random`.
    """

    sticky = False

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._workers: list[W] = []
        self._indices: dict[W, int] = {}

    def add(self, worker: W) -> None:
        self._indices[worker] = len(self._workers)
        self._workers.append(worker)

    def remove(self, worker: W) -> None:
        index = self._indices.pop(worker)
        last = self._workers.pop()
        if last is not worker:
            self._workers[index] = last
            self._indices[last] = index

    def pick(self, client: Any) -> W:
        return self._workers[int(self._chance() * len(self._workers))]
