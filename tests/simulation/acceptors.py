"""Who accepts: the primary, which hands connections over; or the workers, on one socket or each on its own."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiocluster._primary.ports.window import Window
from aiocluster.scheduling import Peeking, Policy

from .queueing import DELAY, FRAME, Round, Run, Worker
from .traffic import Connection

_ACCEPT = 0.00001  # seconds of work to accept a connection and pick its worker
_ACCEPTS_PER_TURN = 64  # the primary's
_ACCEPTS_BY_WORKER = 16  # a worker's, on the shared socket
PULL = 0.001  # seconds that a connection takes from which on a worker fetches the next itself


class Fixed(Window):
    """A window that does not breathe."""

    __slots__ = ("_fixed",)

    def __init__(self, size: int) -> None:
        super().__init__()
        self._fixed = size

    @property
    def room(self) -> int:
        return self._fixed - self.unready

    def is_late(self, now: float) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class HandOver:
    """How the primary hands connections over.

    Attributes:
        window: Makes a worker's window.
        ends_when_taken: Whether a connection leaves the window when its worker has taken it; else when the worker is
            ready with it.
        pull: Seconds that a connection takes from which on a worker fetches the next itself.
    """

    window: Callable[[], Window] = Window
    ends_when_taken: bool = False
    pull: float = PULL
    delay: float = DELAY


class Primary:
    """The primary accepts as many as there is room for, and hands them over; the others wait in the kernel's backlog."""

    def __init__(self, policy: Policy[Any], how: HandOver, run: Run) -> None:
        self._policy = policy
        self._how = how
        self._run = run
        self._agenda = run.agenda
        self._windows = {worker: how.window() for worker in run.workers}
        self._pickable = dict.fromkeys(run.workers)
        self._backlog: deque[Connection] = deque()
        self._frames: list[tuple[Worker, int, int, int, float]] = []
        self._is_awake = False
        self._free_at = 0.0
        for worker in run.workers:
            policy.add(worker)

    def arrived(self, connection: Connection) -> None:
        self._backlog.append(connection)
        if self._pickable:
            self._wake()

    def began(self, worker: Worker, taken: int) -> None:
        if self._how.ends_when_taken:
            self._agenda.at(self._agenda.now + self._how.delay, self._hear, (worker, taken, 0, 0, 0.0))

    def ended(self, worker: Worker, round: Round) -> None:
        pulled = []
        if round.taken and round.seconds / round.taken > self._how.pull:
            while self._backlog and len(pulled) < round.taken:
                pulled.append(self._backlog.popleft())
        ready = 0 if self._how.ends_when_taken else round.taken
        if ready or round.closed or pulled:
            frame = worker, ready, round.closed, len(pulled), round.seconds
            self._agenda.at(self._agenda.now + self._how.delay, self._hear, frame)
        if pulled:
            self._run.give(worker, pulled)

    def reported(self, worker: Worker) -> None:
        self._policy.changed(worker)

    def _hear(self, frame: tuple[Worker, int, int, int, float]) -> None:
        self._frames.append(frame)
        self._wake()

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._agenda.at(max(self._agenda.now, self._free_at), self._go_round)

    def _go_round(self) -> None:
        self._is_awake = False
        now = self._agenda.now
        frames, self._frames = self._frames, []
        for worker, ready, closed, pulled, seconds in frames:
            window = self._windows[worker]
            if ready:
                window.ready(ready, seconds, now)
            if pulled:
                window.sent(pulled, now)
            worker.connections += pulled - closed
            self._policy.changed(worker)
            if worker in self._pickable:
                if window.room <= 0:
                    self._is_full(worker)
            elif window.room > 0:
                self._pickable[worker] = None
                self._policy.add(worker)
        count = min(self._room(now), _ACCEPTS_PER_TURN, len(self._backlog))
        self._free_at = now + len(frames) * FRAME + count * _ACCEPT
        batches: dict[Worker, list[Connection]] = {}
        for _ in range(count):
            connection = self._backlog.popleft()
            worker = self._pick(connection)
            batches.setdefault(worker, []).append(connection)
            worker.connections += 1
            self._policy.changed(worker)
            window = self._windows[worker]
            window.sent(1, now)
            if window.room <= 0:
                self._is_full(worker)
        for worker, batch in batches.items():
            self._free_at += FRAME
            self._agenda.at(self._free_at + self._how.delay, self._run.give, worker, batch)
        if self._backlog and self._pickable:
            self._wake()

    def _room(self, now: float) -> int:
        room = 0
        for worker in list(self._pickable):
            window = self._windows[worker]
            if window.is_late(now):
                self._is_full(worker)
            else:
                room += window.room
        return room

    def _is_full(self, worker: Worker) -> None:
        del self._pickable[worker]
        self._policy.remove(worker)

    def _pick(self, connection: Connection) -> Worker:
        policy = self._policy
        if isinstance(policy, Peeking):
            return policy.pick_by(connection.client, b"GET %b HTTP/1.1\r\n" % connection.target)
        return policy.pick(connection.client)


class SharedSocket:
    """The workers accept on one socket. The kernel wakes one of the idle ones, always trying them in the same order.

    A worker that is done accepts what waits, up to 16 in one turn.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._backlog: deque[Connection] = deque()

    def arrived(self, connection: Connection) -> None:
        self._backlog.append(connection)
        for worker in self._run.workers:
            if worker.is_idle:
                self._accept(worker)
                break

    def began(self, worker: Worker, taken: int) -> None:
        pass

    def ended(self, worker: Worker, round: Round) -> None:
        if self._backlog:
            self._accept(worker)

    def reported(self, worker: Worker) -> None:
        pass

    def _accept(self, worker: Worker) -> None:
        backlog = self._backlog
        self._run.give(worker, [backlog.popleft() for _ in range(min(len(backlog), _ACCEPTS_BY_WORKER))])


class OwnSockets:
    """Each worker accepts on its own socket; the kernel chooses by a hash of addresses and ports: as good as chance."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._chance = random.Random(2)

    def arrived(self, connection: Connection) -> None:
        self._run.give(self._chance.choice(self._run.workers), [connection])

    def began(self, worker: Worker, taken: int) -> None:
        pass

    def ended(self, worker: Worker, round: Round) -> None:
        pass

    def reported(self, worker: Worker) -> None:
        pass
