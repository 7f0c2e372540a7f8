"""The kernel chooses: the workers accept, on one socket or each on its own. Models of what it does."""

from __future__ import annotations

import random
from collections import deque

from .queueing import Round, Run, Worker
from .traffic import Connection

_ACCEPTS_PER_TURN = 16  # a worker's


class SharedSocket:
    """The kernel wakes one of the idle workers, always trying them in the same order (epoll's).

    A worker that comes round accepts some of the connections that wait.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._backlog: deque[Connection] = deque()

    def arrived(self, connection: Connection) -> None:
        self._backlog.append(connection)
        for worker in self._run.workers:
            if worker.since is None:
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
        self._run.give(worker, [backlog.popleft() for _ in range(min(len(backlog), _ACCEPTS_PER_TURN))])


class OwnSockets:
    """The kernel chooses by a hash of both addresses and ports, which is as good as chance."""

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
