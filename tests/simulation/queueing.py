"""Workers as queues: each serves its requests one after the other, as an event loop does."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from aiocluster.scheduling import Peeking, Policy

from .traffic import Connection, Traffic

REPORT = 1.0  # seconds between two reports of a worker's delay: Settings.heartbeat, unless set
_SMOOTHING = 0.3  # the share of a new report in the smoothed delay


@dataclass(slots=True)
class Clock:
    """What time it is, in seconds."""

    now: float = 0.0


@dataclass(eq=False, slots=True)
class Worker:
    """What policies see, and until when it has work."""

    slot: int
    weight: int
    slowness: float
    clock: Clock
    connections: int = 0
    delay: float = 0.0
    busy: float | None = None
    free_at: float = 0.0
    given: float = 0.0  # seconds of work so far, done or not
    done: float = 0.0  # of it, until the last report
    accepted: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        imbalance: The connections of the worker that got most, divided by the mean; 1.0 is even.
        p99: Seconds of which 99 % of the requests waited less before they were served.
    """

    imbalance: float
    p99: float


class Run:
    """One policy, one traffic."""

    def __init__(self, policy: Policy[Any], traffic: Traffic, *, is_weighted: bool) -> None:
        self._clock = Clock()
        slowest = max(traffic.slowness)
        self._workers = [
            Worker(slot, round(slowest / slowness) if is_weighted else 1, slowness, self._clock)
            for slot, slowness in enumerate(traffic.slowness)
        ]
        self._policy = policy
        for worker in self._workers:
            policy.add(worker)
        self._waits: list[float] = []
        # Time, a number that keeps entries comparable, whose it is, seconds of work or None: a connection is closed.
        self._agenda: list[tuple[float, int, Worker, float | None]] = []
        self._entries = 0
        self._next_report = REPORT
        for connection in traffic.connections:
            self._pass_to(connection.at)
            self._clock.now = connection.at
            self._accept(connection)
        self._pass_to(float("inf"))

    @property
    def outcome(self) -> Outcome:
        accepted = [worker.accepted for worker in self._workers]
        waits = sorted(self._waits)
        return Outcome(max(accepted) * len(accepted) / sum(accepted), waits[int(0.99 * len(waits))])

    def _accept(self, connection: Connection) -> None:
        policy = self._policy
        if isinstance(policy, Peeking):
            worker: Worker = policy.pick_by(connection.client, b"GET %b HTTP/1.1\r\n" % connection.target)
        else:
            worker = policy.pick(connection.client)
        worker.accepted += 1
        worker.connections += 1
        policy.changed(worker)
        first, *later = connection.requests
        for offset, service in later:
            self._enter(connection.at + offset, worker, service)
        end = self._serve(connection.at, worker, first[1])
        # The last request of a kept connection may be served after this; the client waits for it, and that counts.
        self._enter(max(end, connection.at + connection.requests[-1][0]), worker, None)

    def _serve(self, now: float, worker: Worker, service: float) -> float:
        start = max(now, worker.free_at)
        self._waits.append(start - now)
        worker.free_at = start + service * worker.slowness
        worker.given += service * worker.slowness
        return worker.free_at

    def _enter(self, at: float, worker: Worker, service: float | None) -> None:
        self._entries += 1
        heappush(self._agenda, (at, self._entries, worker, service))

    def _pass_to(self, now: float) -> None:
        """Lets happen what happens until then."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            at, _, worker, service = heappop(agenda)
            if at >= self._next_report:
                self._report()
            if service is not None:
                self._serve(at, worker, service)
            else:
                worker.connections -= 1
                self._policy.changed(worker)

    def _report(self) -> None:
        """Every worker tells how late its event loop is, by what it has to do first, and how busy it was."""
        now = self._next_report
        for worker in self._workers:
            late = max(0.0, worker.free_at - now)
            worker.delay += _SMOOTHING * (late - worker.delay)
            done = worker.given - late
            share = (done - worker.done) / REPORT
            worker.busy = (worker.busy or 0.0) + _SMOOTHING * (share - (worker.busy or 0.0))
            worker.done = done
            self._policy.changed(worker)
        self._next_report += REPORT
