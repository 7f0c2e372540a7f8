"""The policies that take part, those of the kernel as models."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiocluster.scheduling import Policy, Random
from aiocluster.scheduling._registry import POLICIES, REUSE_PORT, SHARED

from .queueing import Worker


class Shared(Policy[Worker]):
    """The kernel wakes one of the idle workers, always trying them in the same order (epoll's).

    If none is idle, the first that becomes so takes all connections that wait, as asyncio's servers do.
    """

    def __init__(self) -> None:
        self._workers: list[Worker] = []
        self._taker: Worker | None = None
        self._until = 0.0

    def add(self, worker: Worker) -> None:
        self._workers.append(worker)

    def remove(self, worker: Worker) -> None:
        self._workers.remove(worker)

    def pick(self, client: Any) -> Worker:
        now = self._workers[0].clock.now
        for worker in self._workers:
            if worker.free_at <= now:
                return worker
        if self._taker is None or self._until <= now:
            self._taker = min(self._workers, key=lambda worker: worker.free_at)
            self._until = self._taker.free_at
        return self._taker


@dataclass(frozen=True, slots=True)
class Contender:
    """One that takes part.

    Attributes:
        is_weighted: Whether it is told which worker is slow; the others have to find out.
    """

    name: str
    make: Callable[[], Policy[Any]]
    is_weighted: bool = False


def _random(seed: int) -> Callable[[], Policy[Any]]:
    return lambda: Random(random.Random(seed).random)


_MODELS = {
    "random": _random(1),
    SHARED: Shared,
    REUSE_PORT: _random(2),  # by a hash of both addresses and ports, which is as good as chance
}

CONTENDERS = [
    Contender(name, _MODELS.get(name) or POLICIES[name], is_weighted=name == "weighted_round_robin")
    for name in (*POLICIES, SHARED, REUSE_PORT)
]
