"""Each worker in turn."""

from __future__ import annotations

from collections import deque
from typing import Any

from ._turns import Turns
from .policy import W


class RoundRobin(Turns[W]):
    """Picks each worker in turn: of k·n connections, each of n workers gets exactly k.

    If a worker's window is full for a moment, it gets back the turns it missed, up to 64, unless there is a pause.
    """

    sticky = False
    pulls = True

    def __init__(self) -> None:
        super().__init__()
        self._ring: deque[W] = deque()

    def pick(self, client: Any) -> W:
        if self._owed:
            return self._pay_back()
        ring = self._ring
        while (worker := ring[0]) in self._away:
            ring.rotate(-1)
            self._miss(worker)
        ring.rotate(-1)
        return worker

    def _join(self, worker: W) -> None:
        self._ring.append(worker)

    def _leave(self, worker: W) -> None:
        self._ring.remove(worker)
