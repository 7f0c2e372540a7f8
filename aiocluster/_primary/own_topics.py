"""What the primary itself publishes and subscribes to: it is a member of its own board."""

from __future__ import annotations

import asyncio
import logging
import os

from .._events.emitter import EventHub
from .._wire import frames
from .._wire.codec import RawFrame
from .._wire.descriptors import Descriptors
from .._wire.frame import Dispatch
from .._wire.loopback import Loopback
from .._wire.topics import Topics
from ..errors import ProtocolError
from ..events import Error
from .topics import Board

logger = logging.getLogger("aiocluster.topics")


class OwnTopics:
    """The primary's own topics, by a loopback in place of a worker's channel.

    Args:
        board: The cluster's board.
        hub: Emits failures.

    Attributes:
        topics: What it publishes and subscribes to.
    """

    def __init__(self, board: Board, hub: EventHub) -> None:
        self._hub = hub
        loop = asyncio.get_running_loop()
        self._here, there = Loopback.pair(loop, self._receive, self._receive_at_board)
        self.topics: Topics = Topics(self._here, os.getpid(), self._complain)
        self._member = board.join(os.getpid(), "the primary", there)
        self._dispatch = Dispatch(frames.PRIMARY, self.topics.routes)
        self._dispatch_at_board = Dispatch(frames.WORKER, self._member.routes)

    def _receive(self, frame: RawFrame) -> None:
        if type(frame) is tuple:
            self.topics.receive(frame)
        else:
            self._dispatch[frame[0]](frame, _none)

    def _receive_at_board(self, frame: RawFrame) -> None:
        if type(frame) is tuple:
            self._member.receive(frame)
        else:
            self._dispatch_at_board[frame[0]](frame, _none)

    def _complain(self, error: Exception) -> None:
        logger.error("%s", error)
        self._hub.emit(Error(None, error))

    def close(self) -> None:
        """The primary has been left."""
        self._member.leave()
        self._here.close()
        self.topics.close()


def _none() -> Descriptors:
    """No frame of topics has descriptors."""
    raise ProtocolError("a frame names descriptors, of which there are none")
