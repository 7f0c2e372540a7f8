"""The primary accepts, and hands connections over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiocluster._primary.ports.pauses import Pauses
from aiocluster._primary.ports.window import Window
from aiocluster._worker.listening.ready_clock import PULL_AFTER
from aiocluster.scheduling import Peeking, Policy

from .queueing import FRAME, Round, Run, Worker
from .traffic import Connection

DELAY = 0.00007  # seconds that a frame is on its way between two processes, with the wake-up
_ACCEPT = 0.00001  # seconds of work for the primary to accept a connection and to pick its worker
_ACCEPTS_PER_TURN = 64


class Fixed(Window):
    """A window that does not breathe, of a worker that is never late."""

    __slots__ = ("_fixed",)

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = self._fixed = size

    def is_late(self, now: float) -> bool:
        return False

    def sent(self, count: int, now: float) -> None:
        super().sent(count, now)
        self.size = self._fixed

    def forget(self) -> None:
        pass

    def ready(self, count: int, seconds: float, now: float, *, told: int | None = None) -> None:
        super().ready(count, seconds, now)
        self.size = self._fixed


@dataclass(frozen=True, slots=True)
class HandOver:
    """How connections are handed over.

    Attributes:
        window: Makes a worker's window.
        ends_when_taken: Whether a connection leaves the window when the worker has taken it; else when the worker is
            ready with it.
        pulls: Whether a worker whose window is 1 may fetch the next connection itself.
        holds: Whether connections wait for workers that the policy awaits.
    """

    window: Callable[[], Window] = Window
    ends_when_taken: bool = False
    pulls: bool = True
    holds: bool = True


@dataclass(frozen=True, slots=True)
class _Frame:
    worker: Worker
    left: int  # connections that leave its window
    seconds: float = 0.0
    closed: int = 0
    pulled: int = 0


class Primary:
    """Accepts as many connections as workers have room for. The others wait in the kernel's backlog."""

    def __init__(self, policy: Policy[Any], how: HandOver, run: Run) -> None:
        self._policy = policy
        self._how = how
        self._run = run
        self._agenda = run.agenda
        self._may_pull = how.pulls and policy.pulls
        make = partial(Window, is_sticky=True) if policy.sticky and how.window is Window else how.window
        self._windows = {worker: make() for worker in run.workers}
        self._pickable = dict.fromkeys(run.workers)
        self._backlog: deque[Connection] = deque()
        self._frames: list[_Frame] = []
        self._is_awake = False
        self._busy_until = 0.0
        self._looks_again_at = 0.0
        self._pauses = Pauses(policy.settle, self._windows.values)
        for worker in run.workers:
            policy.add(worker)

    # ---- the workers and the kernel

    def arrived(self, connection: Connection) -> None:
        self._backlog.append(connection)
        if self._pickable:
            self._wake()

    def began(self, worker: Worker, taken: int) -> None:
        if self._how.ends_when_taken:
            self._send(_Frame(worker, taken))

    def ended(self, worker: Worker, round: Round) -> None:
        pulled: list[Connection] = []
        if self._may_pull and self._windows[worker].size == 1 and round.seconds > PULL_AFTER * round.taken:
            while self._backlog and len(pulled) < round.taken:
                pulled.append(self._backlog.popleft())
        left = 0 if self._how.ends_when_taken else round.taken
        if left or round.closed or pulled:
            self._send(_Frame(worker, left, round.seconds, round.closed, len(pulled)))
        if pulled:
            self._run.give(worker, pulled)

    def reported(self, worker: Worker) -> None:
        self._policy.changed(worker)

    def _send(self, frame: _Frame) -> None:
        self._agenda.at(self._agenda.now + DELAY, self._hear, frame)

    def _hear(self, frame: _Frame) -> None:
        self._frames.append(frame)
        self._wake()

    # ---- the primary's loop

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._agenda.at(max(self._agenda.now, self._busy_until), self._go_round)

    def _go_round(self) -> None:
        self._is_awake = False
        now = self._agenda.now
        self._busy_until = now + len(self._frames) * FRAME
        frames, self._frames = self._frames, []
        for frame in frames:
            self._handle(frame)
        batches: dict[Worker, list[Connection]] = {}
        for _ in range(_ACCEPTS_PER_TURN):
            worker = self._pick(self._backlog[0]) if self._backlog and self._wants_connections() else None
            if worker is None:
                break
            self._pauses.came(now)
            batches.setdefault(worker, []).append(self._backlog.popleft())
            worker.connections += 1
            self._policy.changed(worker)
            self._windows[worker].sent(1, now)
            self._see_room(worker)
        else:
            self._wake()
        for worker, batch in batches.items():
            self._busy_until += FRAME + len(batch) * _ACCEPT
            self._agenda.at(self._busy_until + DELAY, self._run.give, worker, batch)

    def _handle(self, frame: _Frame) -> None:
        worker, now = frame.worker, self._agenda.now
        window = self._windows[worker]
        if frame.left:
            window.ready(frame.left, frame.seconds, now)
        if frame.pulled:
            window.sent(frame.pulled, now)
        worker.connections += frame.pulled - frame.closed
        self._policy.changed(worker)
        self._see_room(worker)

    def _wants_connections(self) -> bool:
        """Whether a worker has room for one, and no other one is worth waiting for. If so, looks again then."""
        if not self._pickable:
            return False
        now = self._agenda.now
        for worker in self._policy.awaited() if self._how.holds else ():
            window = self._windows[worker]
            if window.room <= 0 and now < window.held_until:
                if self._looks_again_at != window.held_until:
                    self._looks_again_at = window.held_until
                    self._agenda.at(window.held_until, self._wake)
                return False
        return True

    def _pick(self, connection: Connection) -> Worker | None:
        """The worker for this connection. Those that are late can't be picked any more."""
        policy = self._policy
        while self._pickable:
            if isinstance(policy, Peeking):
                worker: Worker = policy.pick_by(connection.client, b"GET %b HTTP/1.1\r\n" % connection.target)
            else:
                worker = policy.pick(connection.client)
            if not self._windows[worker].is_late(self._agenda.now):
                return worker
            self._is_full(worker)
        return None

    def _see_room(self, worker: Worker) -> None:
        has_room = self._windows[worker].room > 0
        if has_room and worker not in self._pickable:
            self._pickable[worker] = None
            self._policy.add(worker)
        elif not has_room and worker in self._pickable:
            self._is_full(worker)

    def _is_full(self, worker: Worker) -> None:
        del self._pickable[worker]
        self._policy.remove(worker)


BREATHING = HandOver()
TAKEN_64 = HandOver(lambda: Fixed(64), ends_when_taken=True, pulls=False, holds=False)
"""A connection counts until its worker has taken it: as it is where nobody knows what a worker does with it."""
