"""Where what a worker sends to the primary goes: its messages, requests and complaints."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .._events.emitter import EventHub
from .._wire.conversation import RequestHandler
from .._wire.windows import ReceiveWindow
from ..errors import ProtocolError
from ..events import Error, Undelivered

if TYPE_CHECKING:
    from .worker_process import WorkerProcess

logger = logging.getLogger("aiocluster.primary")


class WorkerMailbox:
    """A worker's, in the primary; what `conversation.Mailbox` asks for.

    Args:
        worker: Whose.
        hub: Hears of it.
        request_handler: Returns what answers requests.
    """

    def __init__(
        self, worker: WorkerProcess, hub: EventHub, request_handler: Callable[[], RequestHandler | None]
    ) -> None:
        self._worker = worker
        self._hub = hub
        self._request_handler = request_handler

    @property
    def request_handler(self) -> RequestHandler | None:
        return self._request_handler()

    def deliver(
        self, sender: int, messages: Iterable[Any], handles: tuple[socket.socket, ...], receive_window: ReceiveWindow
    ) -> None:
        self._hub.emit_messages(sender, messages, handles, self._worker)

    async def call(self, named: Any, args: list[Any]) -> Any:
        raise ProtocolError("a worker has asked to run code in the primary")

    def complain(self, error: Exception) -> None:
        logger.error("%r: %s", self._worker, error)
        self._hub.emit(Error(self._worker, error))

    def give_back(self, pid: int, message: Any) -> None:
        self._hub.emit(Undelivered(pid, message))
