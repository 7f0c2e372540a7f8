"""The handlers for what another process sends: messages, requests, and failures in transit."""

from __future__ import annotations

import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from .._events.emitter import EventHub
from ..errors import ProtocolError
from ..events import Error, Undelivered
from .windows import ReceiveWindow

RequestHandler = Callable[[Any, Any], Any]
"""Called with a request and its sender: a pid, or ``"host/pid"`` in another cluster of the fleet."""

Deliver = Callable[[int | str, Iterable[Any], tuple[socket.socket, ...], ReceiveWindow], None]
Call = Callable[[Any, list[Any]], Awaitable[Any]]


class Requests:
    """Holds the handler of requests. All workers of a primary share one."""

    __slots__ = ("handler",)

    def __init__(self) -> None:
        self.handler: RequestHandler | None = None


async def refuse_call(target: Any, args: list[Any]) -> Any:
    """The `Mailbox.call` of a process that runs no code for others."""
    raise ProtocolError("only a primary may have functions called, and only by its workers")


class Mailbox:
    """Passes what a conversation receives to handlers. In the primary, each worker has one.

    Args:
        hub: Emits failures and undelivered messages.
        deliver: Called with the messages of a frame: sender, messages, handles, and the window that acknowledges them.
        requests: Holds the handler of requests.
        call: Called with the name and the arguments of a function that the other process wants called here.
        logger: Logs failures.

    Attributes:
        worker: The worker that events name as the sender, in the primary; else None.
        undelivered: How many messages have come back so far.
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
        self.undelivered: int = 0

    def complain(self, error: Exception) -> None:
        """Logs and emits a failure that no caller waits for."""
        if self.worker is None:
            self._logger.error("%s", error)
        else:
            self._logger.error("worker %d (pid %d): %s", self.worker.id, self.worker.pid, error)
        self._hub.emit(Error(self.worker, error))

    def give_back(self, pid: int | str, message: Any) -> None:
        """Emits a message whose receiver is gone and did not acknowledge it."""
        self.undelivered += 1
        self._hub.emit(Undelivered(pid, message))
