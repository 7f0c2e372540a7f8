"""The base of policies that pick workers in turn and remember the turns they missed."""

from __future__ import annotations

from abc import abstractmethod

from .policy import Policy, W

MOST_OWED = 64
"""The most missed turns that a worker gets back: one batch of accepted connections.

A worker that has missed more was not just busy for a moment: it is blocked or gone, and is forgotten. If it comes back,
it is owed nothing, as it probably has enough to do.
"""


class Turns(Policy[W]):
    """Gives turns to all known workers, including those that may not be picked. Subclasses define the order, and pick.

    If a worker may not be picked, the next one gets its turn, and the worker is owed one. Each such step is either a
    turn that the worker gets back or one of the `MOST_OWED` before it is forgotten. So on average, picking costs the
    same with any number of workers. After a pause, nobody is owed any.
    """

    def __init__(self) -> None:
        self._owed: dict[W, int] = {}
        self._away: dict[W, int] = {}

    @abstractmethod
    def _join(self, worker: W) -> None:
        """Adds a new worker, which then has turns."""

    @abstractmethod
    def _leave(self, worker: W) -> None:
        """Removes a worker, which then has no turns."""

    def add(self, worker: W) -> None:
        missed = self._away.pop(worker, None)
        if missed is None:
            self._join(worker)
        elif missed:
            self._owed[worker] = missed

    def remove(self, worker: W) -> None:
        self._away[worker] = self._owed.pop(worker, 0)

    def forget(self, worker: W) -> None:
        if self._away.pop(worker, None) is not None:  # else it has missed so many turns that it is already forgotten
            self._leave(worker)

    def settle(self) -> None:
        self._owed.clear()
        self._away = dict.fromkeys(self._away, 0)

    def _pay_back(self) -> W:
        """A worker that is owed a turn. Call it first when you pick, if any is."""
        worker = next(iter(self._owed))
        missed = self._owed.pop(worker)
        if missed > 1:
            self._owed[worker] = missed - 1  # behind the others that are owed some
        return worker

    def _miss(self, worker: W) -> None:
        """This worker, which may not be picked, misses its turn."""
        self._away[worker] += 1
        if self._away[worker] > MOST_OWED:
            self.forget(worker)
