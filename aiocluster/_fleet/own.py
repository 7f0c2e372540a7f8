"""What the primary itself sends to other clusters and hears from them: it is a peer like a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from .._events.emitter import EventHub
from .._wire.codec import RawFrame
from .._wire.conversation import Conversation
from .._wire.descriptors import Descriptors
from .._wire.frames import Remote
from .._wire.loopback import Loopback
from .._wire.mailbox import Mailbox, Requests
from .._wire.windows import ReceiveWindow, SendWindow
from ..errors import ProtocolError

logger = logging.getLogger("aiocluster.primary")

Send = Callable[[int, int, int, bytes], None]


class OwnConversations:
    """The conversations of the primary with processes of other clusters.

    Args:
        hub: Emits messages and failures.
        requests: Holds the handler of requests.
        send: Called with each frame: the receiver's number, and the frame's kind, number and body.
    """

    def __init__(self, hub: EventHub, requests: Requests, send: Send) -> None:
        self._hub = hub
        self._send = send
        self._mailbox = Mailbox(hub, self._deliver, requests, logger)
        self._here, there = Loopback.pair(asyncio.get_running_loop(), _nothing, self._sent)
        self._other_end = there
        self._open: dict[int, Conversation] = {}
        self._endings: set[asyncio.Task[None]] = set()

    def _sent(self, frame: RawFrame) -> None:
        assert type(frame) is tuple
        kind, to, number, body = frame
        self._send(to, kind, number, body)

    def _deliver(self, sender: int | str, messages: Any, handles: Any, window: ReceiveWindow) -> None:
        self._hub.emit_messages(sender, messages, handles, None, window.hold)

    def _with(self, remote: Remote) -> Conversation:
        peer = self._open.get(remote.number)
        if peer is None:
            where = f"{remote.host}/{remote.pid}"
            peer = Conversation(self._here, remote.number, where, f"the worker {where}", self._mailbox)
            self._open[remote.number] = peer
        return peer

    def windows(self, remotes: Iterable[Remote]) -> Iterable[SendWindow]:
        """The flows to the workers among these."""
        return [self._with(remote).send_window for remote in remotes if remote.is_worker]

    def receive(self, sender: Remote, kind: int, number: int, body: bytes) -> None:
        """A frame of a flow has arrived.

        Raises:
            ProtocolError: It is invalid.
        """
        self._with(sender).receive(kind, number, body, _no_descriptors)

    def left(self, number: int) -> None:
        """The process of that number is gone."""
        peer = self._open.pop(number, None)
        if peer is not None:
            task = asyncio.get_running_loop().create_task(peer.end())
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        """This cluster leaves the fleet."""
        self._here.flush()
        for number in list(self._open):
            self.left(number)
        if self._endings:
            await asyncio.wait(self._endings)
        self._here.close()


def _nothing(frame: RawFrame) -> None:
    """What arrives does not come by the loopback."""


def _no_descriptors() -> Descriptors:
    """No frame from another cluster has descriptors."""
    raise ProtocolError("a frame names descriptors, of which there are none")
