"""Workers as queues: each serves what it has in rounds, as an event loop does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Protocol

from .traffic import Connection, Traffic

REPORT = 1.0  # seconds between two reports of a worker's delay: Settings.heartbeat, unless set
DELAY = 0.00007  # seconds that a frame is on its way between two processes, wake-up included
FRAME = 0.00003  # seconds of work for a frame, on each side
_SMOOTHING = 0.3  # the share of a new report in the smoothed delay


class Agenda:
    """What happens when: a discrete-event simulation's clock.

    Attributes:
        now: The time, in seconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._entries: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0  # keeps entries of the same time in their order

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Calls this at that time."""
        self._count += 1
        heappush(self._entries, (when, self._count, call, arguments))

    def run(self) -> None:
        """Lets everything happen."""
        entries = self._entries
        while entries:
            self.now, _, call, arguments = heappop(entries)
            call(*arguments)


@dataclass(eq=False, slots=True)
class Request:
    """One request.

    Attributes:
        at: When it has arrived, in seconds.
        service: Seconds of work.
        connection: Its connection, if it is the first one there.
        is_last: Whether its connection is closed afterwards.
    """

    at: float
    service: float
    connection: Connection | None
    is_last: bool


@dataclass(eq=False, slots=True)
class Worker:
    """What policies see, and what it has to do.

    Attributes:
        connections: What the primary knows of.
        inbox: What it serves in its next round.
        accepted: How many connections it has got.
        busy: Seconds of work that it has begun.
    """

    slot: int
    weight: int
    slowness: float
    connections: int = 0
    delay: float = 0.0
    accepted: int = 0
    busy: float = 0.0
    is_idle: bool = True
    since: float = 0.0
    inbox: list[Request] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Round:
    """What a worker has done in one turn of its loop.

    Attributes:
        taken: How many connections it took at its beginning.
        closed: How many were closed.
        seconds: How long it took.
    """

    taken: int
    closed: int
    seconds: float


class Acceptor(Protocol):
    """Who accepts connections, and for whom."""

    def arrived(self, connection: Connection) -> None:
        """A client has connected."""

    def began(self, worker: Worker, taken: int) -> None:
        """This worker's loop has come round, and has taken so many connections."""

    def ended(self, worker: Worker, round: Round) -> None:
        """This worker has served what it had."""

    def reported(self, worker: Worker) -> None:
        """This worker's delay is known anew."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        imbalance: The connections of the worker that got most, divided by the mean; 1.0 is even.
        waits: Seconds that the requests waited before they were served, sorted.
        times: Seconds from each request to its response, sorted.
        lost: Of the workers' time, the share in which one was idle although a request waited.
    """

    imbalance: float
    waits: list[float]
    times: list[float]
    lost: float

    @property
    def p99(self) -> float:
        """Seconds of which 99 % of the requests waited less before they were served."""
        return percentile(self.waits, 99)


def percentile(values: list[float], percent: float) -> float:
    """Of sorted values, the one that so many percent are below."""
    return values[int(percent / 100 * len(values))]


class Run:
    """One traffic, one way to the workers."""

    def __init__(self, make: Callable[[Run], Acceptor], traffic: Traffic, *, is_weighted: bool = False) -> None:
        self.agenda = Agenda()
        slowest = max(traffic.slowness)
        self.workers = [
            Worker(slot, round(slowest / slowness) if is_weighted else 1, slowness)
            for slot, slowness in enumerate(traffic.slowness)
        ]
        self._served: list[tuple[float, float, float]] = []  # arrived, begun, ended
        self._last = traffic.connections[-1].at
        acceptor = self._acceptor = make(self)
        for connection in traffic.connections:
            self.agenda.at(connection.at, acceptor.arrived, connection)
        for at, slot, seconds in traffic.stalls:
            self.agenda.at(at, self._stall, self.workers[slot], seconds)
        self.agenda.at(REPORT, self._report)
        self.agenda.run()

    def give(self, worker: Worker, connections: list[Connection]) -> None:
        """This worker has these connections."""
        worker.accepted += len(connections)
        inbox = worker.inbox
        for connection in connections:
            requests = connection.requests
            inbox.append(Request(connection.at, requests[0][1], connection, len(requests) == 1))
        if worker.is_idle:
            self._go_round(worker)

    def wake(self, worker: Worker) -> None:
        """Something has come for this worker."""
        if worker.is_idle:
            self._go_round(worker)

    @property
    def outcome(self) -> Outcome:
        accepted = [worker.accepted for worker in self.workers]
        waits = sorted(begun - arrived for arrived, begun, _ in self._served)
        times = sorted(ended - arrived for arrived, _, ended in self._served)
        imbalance = max(accepted) * len(accepted) / sum(accepted)
        return Outcome(imbalance, waits, times, lost(self._served, len(accepted)))

    def _go_round(self, worker: Worker) -> None:
        now = at = self.agenda.now
        requests, worker.inbox = worker.inbox, []
        worker.is_idle = False
        worker.since = now
        taken = closed = 0
        for request in requests:
            start, service = at, request.service * worker.slowness
            at += service
            if request.at >= 0.0:
                self._served.append((request.at, start, at))
            if request.connection is not None:
                taken += 1
                self._enter_later(worker, request.connection)
            closed += request.is_last
        if taken:
            at += FRAME
            self._acceptor.began(worker, taken)
        worker.busy += at - now
        self.agenda.at(at, self._end_round, worker, Round(taken, closed, at - now))

    def _end_round(self, worker: Worker, round: Round) -> None:
        worker.is_idle = True
        self._acceptor.ended(worker, round)  # which may give it more
        if worker.is_idle and worker.inbox:
            self._go_round(worker)

    def _enter_later(self, worker: Worker, connection: Connection) -> None:
        now = self.agenda.now
        later = connection.requests[1:]
        for number, (offset, service) in enumerate(later, 1):
            at = connection.at + offset
            request = Request(at, service, None, number == len(later))
            self.agenda.at(max(now, at), self._come, worker, request)

    def _come(self, worker: Worker, request: Request) -> None:
        worker.inbox.append(request)
        if worker.is_idle:
            self._go_round(worker)

    def _stall(self, worker: Worker, seconds: float) -> None:
        self._come(worker, Request(-1.0, seconds, None, False))

    def _report(self) -> None:
        """Every worker tells how late its event loop is: by what it has to do first."""
        now = self.agenda.now
        for worker in self.workers:
            late = 0.0 if worker.is_idle else now - worker.since
            worker.delay += _SMOOTHING * (late - worker.delay)
            self._acceptor.reported(worker)
        if now < self._last:
            self.agenda.at(now + REPORT, self._report)


def lost(served: list[tuple[float, float, float]], workers: int) -> float:
    """Of the workers' time, the share in which one was idle although a request waited.

    Args:
        served: When each request arrived, was begun, and ended.
        workers: How many workers there were.
    """
    changes = sorted(
        change
        for arrived, begun, ended in served
        for change in ((arrived, 1, 0), (begun, -1, 1), (ended, 0, -1))
    )
    waiting = busy = 0
    idle = 0.0
    before = first = changes[0][0]
    for now, waits, works in changes:
        if waiting and busy < workers:
            idle += min(waiting, workers - busy) * (now - before)
        waiting += waits
        busy += works
        before = now
    return idle / (workers * (before - first))
