"""Each worker in turn."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from .policy import Policy, W


class RoundRobin(Policy[W]):
    """Picks each worker in turn: of k·n connections, each of n workers gets exactly k, as long as all have room.

    A worker that has none for a moment loses its turns, and is the last in turn when it has room again.
    """

    pulls = True

    def __init__(self) -> None:
        self._ring: OrderedDict[W, None] = OrderedDict()

    def add(self, worker: W) -> None:
        self._ring[worker] = None

    def remove(self, worker: W) -> None:
        del self._ring[worker]

    def pick(self, client: Any) -> W:
        worker = next(iter(self._ring))
        self._ring.move_to_end(worker)
        return worker
