"""Processes of a cluster, as the board knows them, in one loop: each has a loopback in place of a channel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiocluster._primary.topics import _LOOKS, Board
from aiocluster._wire import frames
from aiocluster._wire.codec import RawFrame
from aiocluster._wire.descriptors import Descriptors
from aiocluster._wire.frame import Dispatch
from aiocluster._wire.loopback import Loopback
from aiocluster._wire.topic_peer import TopicPeer
from aiocluster._wire.topics import Topics
from aiocluster.errors import ProtocolError

from .ends import PATIENCE


class Clock:
    """The board's timer, which goes on by hand.

    Attributes:
        due: What is to be called, by its timer.
    """

    def __init__(self) -> None:
        self.due: dict[Clock.Timer, Callable[[], None]] = {}

    class Timer:
        def __init__(self, clock: Clock) -> None:
            self._clock = clock

        def cancel(self) -> None:
            del self._clock.due[self]

    def schedule(self, seconds: float, function: Callable[[], None]) -> Clock.Timer:
        timer = self.Timer(self)
        self.due[timer] = function
        return timer

    def go_on(self) -> None:
        """So much time passes that those who acknowledge nothing are left behind."""
        for _ in range(_LOOKS):
            due, self.due = self.due, {}
            for function in due.values():
                function()


class Process(TopicPeer):
    """One process: its end, and the board's end of the same loopback."""

    def __init__(self, board: Board, pid: int) -> None:
        self.pid = pid
        self.complaints: list[Exception] = []
        self.error: ProtocolError | None = None
        self.here, self.there = Loopback.pair(asyncio.get_running_loop(), self._receive, self._receive_at_board)
        self.topics = self._topics = Topics(self.here, pid, self.complaints.append)
        self.member = board.join(pid, f"process {pid}", self.there)
        self._dispatch = Dispatch(frames.PRIMARY, self.topics.routes)
        self._at_board = Dispatch(frames.WORKER, self.member.routes)

    def _receive(self, frame: RawFrame) -> None:
        if type(frame) is tuple:
            self.topics.receive(frame)
        else:
            self._dispatch[frame[0]](frame, _none)

    def _receive_at_board(self, frame: RawFrame) -> None:
        try:
            if type(frame) is tuple:
                self.member.receive(frame)
            else:
                self._at_board[frame[0]](frame, _none)
        except ProtocolError as error:
            self.error = error
            self.end()

    def end(self) -> None:
        """The process ends."""
        if not self.here.is_closed:
            self.here.close()
            self.member.leave()
            self.topics.close()

    async def said_all(self) -> None:
        """Returns when all that this process has published is acknowledged."""
        async with asyncio.timeout(PATIENCE):
            while self.topics._budget.used or any(flow.batch for flow in self.topics.flows.values()):
                await asyncio.sleep(0.001)


def _none() -> Descriptors:
    raise ProtocolError("no frame of topics has descriptors")


async def take(messages: Any, count: int) -> list[Any]:
    """So many messages of a subscription."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(messages) for _ in range(count)]


async def turns(count: int = 5) -> None:
    """So many iterations of the loop: frames that are queued arrive, and so do the answers."""
    for _ in range(count):
        await asyncio.sleep(0)
