"""`Autoscaler`: has the number of workers follow the load, where the user has left it between two bounds."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping

from .._primary.ports.pressure import Pressure
from .._primary.session import Session
from .demand import Crew, Demand, Load
from .process import Process
from .wanted import Wanted

logger = logging.getLogger("aiocluster.cluster")

_LATE = 0.005  # seconds: a loop that is so late for its timers has work all the time


class Autoscaler:
    """Asks `Demand` how many workers the load needs, and has them wanted.

    Args:
        wanted: The wanted state.
        processes: The cluster's processes, by id.
        pressure: Tells when connections wait.
        wake: Has the reconciler run a step.

    Attributes:
        demand: The rule.
        next_look: When to look even if nothing has changed; math.inf while the number is fixed.
    """

    def __init__(
        self,
        wanted: Wanted,
        processes: Mapping[int, Process],
        pressure: Pressure,
        wake: Callable[[], None],
    ) -> None:
        self.demand: Demand = Demand()
        self.next_look: float = math.inf
        self._wanted = wanted
        self._processes = processes
        self._pressure = pressure
        self._wake = wake
        self._decided: int | None = None

    def follow(self, now: float) -> bool:
        """Changes the number of wanted workers, if it is time to. Returns whether it did."""
        if not self._wanted.bounds.are_apart:
            self.next_look = math.inf
            self._pressure.watch(None)
            return False
        if now >= self.next_look or self.next_look == math.inf:
            self.next_look = now + self.demand.pace.look
            self._look(now)
        number = len(self._wanted.want.workers)
        decided, self._decided = self._decided, None
        has_changed = decided is not None and decided != number and self._wanted.may_follow_load(now)
        if has_changed:
            assert decided is not None
            self._wanted.follow_load(decided - number)
            logger.info("%d workers instead of %d, by load", len(self._wanted.want.workers), number)
        self._pressure.watch(self._on_waiting if self._may_grow(now) else None)
        return has_changed

    def stop(self) -> None:
        """Changes nothing more."""
        self.next_look = math.inf
        self._decided = None
        self._pressure.watch(None)

    def _may_grow(self, now: float) -> bool:
        return len(self._wanted.want.workers) < self._wanted.bounds.high and self._wanted.may_follow_load(now)

    def _on_waiting(self) -> None:
        self._look(time.monotonic())
        if self._decided is not None:
            self._wake()

    def _look(self, now: float) -> None:
        wanted = self._wanted
        for process in self._serving(now):
            wanted.growth.serves(process.slot)
        if not wanted.may_follow_load(now):
            self.demand.pause()
            self._decided = None
            return
        number, left = len(wanted.want.workers), wanted.left
        serving = self._serving(now)
        strain = self._pressure.strain(now)
        load = Load(
            waiting=strain.waiting,
            stuck=strain.stuck,
            arrived=strain.arrived,
            seconds=strain.seconds,
            busy=_sum([_busy_share(process.worker._session) for process in serving if process.worker is not None]),
        )
        low, high = wanted.bounds
        crew = Crew(low=max(1, low - left), high=high - left, wanted=number - left, serving=len(serving))
        decided = left + self.demand.look(load, crew, now)
        self._decided = None if decided == number else decided

    def _serving(self, now: float) -> list[Process]:
        """The workers that do their work, as far as one can see: where any of them listens, all have to.

        One that listens nowhere counts ``start_timeout`` seconds after it came online.
        """
        working = [process for process in self._processes.values() if process.is_worker and process.is_at_work]
        if not any(process.ports for process in working):
            return working
        longest = self._wanted.want.start_timeout
        return [process for process in working if process.ports or now - process.since > longest]


def _busy_share(session: Session) -> float | None:
    """How busy its event loop is, from 0 to 1; None before its first report."""
    if not session.memory:
        return None
    backend = session.backend
    if backend.busy is not None:
        return backend.busy
    return 1.0 if backend.delay > _LATE else 0.0  # this loop can't tell


def _sum(shares: list[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) if len(known) == len(shares) else None
