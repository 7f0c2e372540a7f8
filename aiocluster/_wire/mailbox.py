"""Where what another process sends goes: messages, requests, and what failed on the way."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from .._events.emitter import EventHub
from ..errors import ProtocolError
from ..events import Error, Undelivered
from .windows import ReceiveWindow

RequestHandler = Callable[[Any, int], Any]
Deliver = Callable[[int, Iterable[Any], tuple[socket.socket, ...], ReceiveWindow], None]
Call = Callable[[Any, list[Any]], Awaitable[Any]]


class Requests:
    """What answers requests. All workers of a primary share one."""

    __slots__ = ("handler",)

    def __init__(self) -> None:
        self.handler: RequestHandler | None = None


async def refuse_call(target: Any, args: list[Any]) -> Any:
    """The `Mailbox.call` of a process that runs no code for others."""
    raise ProtocolError("only a primary may have functions called, and only by its workers")


class Mailbox:
    """One end's. The workers of a primary have one each.

    Args:
        hub: Hears of what failed and of what comes back.
        deliver: Called with the messages of a frame: sender, messages, handles, and the window that acknowledges them.
        requests: Has what answers requests.
        call: Called with the name and the arguments of a function that the other process wants called here.
        logger: Where failures are logged.

    Attributes:
        worker: What events say of the sender: the worker, in the primary; else None.
    """

    def __init__(
        self,
        hub: EventHub,
        deliver: Deliver,
        requests: Requests,
        logger: logging.Logger,
        *,
        call: Call = refuse_call,
    ) -> None:
        self._hub = hub
        self.deliver = deliver
        self.requests = requests
        self.call = call
        self._logger = logger
        self.worker: Any = None

    def complain(self, error: Exception) -> None:
        """Something failed that no caller waits for."""
        if self.worker is None:
            self._logger.error("%s", error)
        else:
            self._logger.error("%r: %s", self.worker, error)
        self._hub.emit(Error(self.worker, error))

    def give_back(self, pid: int, message: Any) -> None:
        """A message of ours was not acknowledged by a receiver that is gone."""
        self._hub.emit(Undelivered(pid, message))
