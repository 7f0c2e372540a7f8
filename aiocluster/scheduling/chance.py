"""Any worker."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from .policy import Policy

W = TypeVar("W", bound=Hashable)


class Random(Policy[W]):
    """Any worker, each as likely as another; weights do not count.

    Args:
        chance: Gives numbers from 0.0 to below 1.0; another source than the default makes picks repeatable.
    """

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._workers: list[W] = []
        self._places: dict[W, int] = {}

    def add(self, worker: W) -> None:
        self._places[worker] = len(self._workers)
        self._workers.append(worker)

    def remove(self, worker: W) -> None:
        place = self._places.pop(worker)
        last = self._workers.pop()
        if last is not worker:
            self._workers[place] = last
            self._places[last] = place

    def pick(self, client: Any) -> W:
        return self._workers[int(self._chance() * len(self._workers))]
