"""The base of policies that give each worker its turns, and remember those it missed."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from .policy import Policy, W

MOST_OWED = 64
"""The most missed turns that a worker gets back: one batch of accepted connections.

A worker that has missed more was not busy for a moment, but is blocked or gone. It is forgotten. If it comes back it is
owed nothing: it is likely to have enough to do.
"""


class Turns(Policy[W]):
    """The turns of all known workers, whether they may be picked or not: subclasses say whose turn is next.

    The turn of a worker that may not be picked goes to the next one, and is owed to it. Each such step is either a turn
    that the worker gets back or one of the `MOST_OWED` before it is forgotten, so that picking costs the same with any
    number of workers, on average.
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
        """The worker whose turn it is. There is always one."""

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
