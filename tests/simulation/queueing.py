"""Workers as queues: each serves what it has in rounds, as an event loop does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Protocol

from aiocluster._primary.ports.busy import BusyShare

from .outcome import Outcome, Served, judge
from .traffic import Connection, Traffic

FRAME = 0.00003  # seconds of work for a frame, on each side
REPORT = 1.0  # seconds between two reports of a worker: Settings.heartbeat, unless set
_SMOOTHING = 0.3  # the share of a new report in the smoothed delay


class Agenda:
    """What happens when.

    Attributes:
        now: The time, in seconds.
    """

    def __init__(self) -> None:
        self.now: float = 0.0
        self._entries: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0  # keeps entries of the same time in their order

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Calls this at that time."""
        self._count += 1
        heappush(self._entries, (when, self._count, call, arguments))

    def run(self, until: float) -> None:
        """Lets everything happen until then."""
        while self._entries and self._entries[0][0] <= until:
            self.now, _, call, arguments = heappop(self._entries)
            call(*arguments)


@dataclass(slots=True)
class Request:
    """One request, or something else that keeps a worker's event loop busy.

    Attributes:
        at: When it has arrived, in seconds; None: it is no request.
        service: Seconds of work.
        connection: Its connection, if it is the first one there.
        is_last: Whether its connection is closed afterwards.
    """

    at: float | None
    service: float
    connection: Connection | None = None
    is_last: bool = False


@dataclass(eq=False, slots=True)
class Worker:
    """What policies see of a worker, and what it has to do.

    Attributes:
        connections: How many it has, as far as the primary knows.
        accepted: How many it has got.
        inbox: What it serves in its next round.
        since: When its round has begun; None: it has nothing to do.
        worked: Seconds of work since its last report, without those of its round.
    """

    slot: int
    weight: int
    slowness: float
    connections: int = 0
    delay: float = 0.0
    busy_share: BusyShare = field(default_factory=BusyShare)
    accepted: int = 0
    inbox: list[Request] = field(default_factory=list)
    since: float | None = None
    worked: float = 0.0

    @property
    def busy(self) -> float | None:
        return self.busy_share.value


@dataclass(frozen=True, slots=True)
class Round:
    """What a worker has done in one turn of its loop.

    Attributes:
        taken: How many connections it took at the beginning.
        closed: How many it closed.
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
        """This worker has told how late and how busy its loop is."""


class Run:
    """One traffic, one way to the workers. No chance is involved.

    Args:
        make: Makes who accepts.
        traffic: Who connects when.
        is_weighted: Whether weights tell which worker is slow.
        until: When it ends, in seconds.
    """

    def __init__(
        self,
        make: Callable[[Run], Acceptor],
        traffic: Traffic,
        *,
        is_weighted: bool = False,
        until: float = math.inf,
    ) -> None:
        self.agenda = Agenda()
        slowest = max(traffic.slowness)
        self.workers = [
            Worker(slot, round(slowest / slowness) if is_weighted else 1, slowness)
            for slot, slowness in enumerate(traffic.slowness)
        ]
        self._served: list[Served] = []
        self._last = traffic.connections[-1].at
        self._acceptor = make(self)
        for connection in traffic.connections:
            self.agenda.at(connection.at, self._acceptor.arrived, connection)
        for at, slot, seconds in traffic.stalls:
            self.agenda.at(at, self._come, self.workers[slot], Request(None, seconds))
        self.agenda.at(REPORT, self._report)
        self.agenda.run(until)

    @property
    def outcome(self) -> Outcome:
        return judge(self._served, [worker.accepted for worker in self.workers])

    def give(self, worker: Worker, connections: Sequence[Connection]) -> None:
        """These connections have come to this worker."""
        worker.accepted += len(connections)
        for connection in connections:
            requests = connection.requests
            worker.inbox.append(Request(connection.at, requests[0][1], connection, len(requests) == 1))
        if worker.since is None:
            self._begin_round(worker)

    def _come(self, worker: Worker, request: Request) -> None:
        worker.inbox.append(request)
        if worker.since is None:
            self._begin_round(worker)

    def _begin_round(self, worker: Worker) -> None:
        now = at = self.agenda.now
        requests, worker.inbox = worker.inbox, []
        worker.since = now
        taken = closed = 0
        for request in requests:
            begun, at = at, at + request.service * worker.slowness
            if request.at is not None:
                self._served.append((request.at, begun, at))
            if request.connection is not None:
                taken += 1
                self._expect_more(worker, request.connection)
            closed += request.is_last
        if taken:
            at += FRAME
            self._acceptor.began(worker, taken)
        self.agenda.at(at, self._end_round, worker, Round(taken, closed, at - now))

    def _end_round(self, worker: Worker, round: Round) -> None:
        worker.worked += round.seconds
        worker.since = None
        self._acceptor.ended(worker, round)  # which may give it more
        if worker.since is None and worker.inbox:
            self._begin_round(worker)

    def _expect_more(self, worker: Worker, connection: Connection) -> None:
        """Its other requests come when the client sends them, although the first one may have waited until then."""
        later = connection.requests[1:]
        for number, (offset, service) in enumerate(later, 1):
            at = connection.at + offset
            self.agenda.at(
                max(self.agenda.now, at), self._come, worker, Request(at, service, is_last=number == len(later))
            )

    def _report(self) -> None:
        """Every worker tells how busy its loop was, and how late it is: by what it has to do first."""
        now = self.agenda.now
        for worker in self.workers:
            late = 0.0 if worker.since is None else now - worker.since
            worker.delay += _SMOOTHING * (late - worker.delay)
            worker.busy_share.reported(min(1.0, max(0.0, worker.worked + late) / REPORT), REPORT)
            worker.worked = -late  # which the end of its round will add
            self._acceptor.reported(worker)
        if now < self._last:
            self.agenda.at(now + REPORT, self._report)
