"""One end of the channel between a process and its child. Both ends use this class."""

from __future__ import annotations

import asyncio
import logging
import socket

from .._events.emitter import E_contra
from .._wire import frames
from .._wire.channel import Channel
from .._wire.codec import MAX_FRAME_OF_PEER, RawFrame, flow_fields
from .._wire.conversation import Conversation
from .._wire.frame import Dispatch, TakeDescriptors, on
from .._wire.inbox import Inbox
from .._wire.mailbox import Mailbox, Requests
from .._wire.peer import InboxPeer, NoConversation
from ..events import Disconnect, Event

logger = logging.getLogger("aiocluster.child_process")

_PEER = 0  # the peer that frames name: there is only one
_AT_MOST_ONCE = frozenset({"spawn", "exit", "close", "disconnect"})


class Link(InboxPeer[E_contra]):
    """The base of `ChildProcess` and `Parent`: messages, requests and handles in both directions on one channel.

    Attributes:
        pid: The other process's id.
    """

    def __init__(self, sock: socket.socket | None, pid: int, whom: str, inbox: Inbox) -> None:
        self.pid = pid
        self._hub: Inbox = inbox
        self._requests = Requests()
        self._whom = whom
        self._channel: Channel | None = None
        self._is_leaving = False
        self._ending: asyncio.Task[None] | None = None
        self._once: dict[str, Event] = {}
        self._happened = self._once
        self._mailbox = Mailbox(self._hub, self._hub.deliver, self._requests, logger)
        self._conversation: Conversation | NoConversation
        self._open: Conversation | None = None
        self._dispatch = Dispatch(frames.RELATIVE, [on(frames.Finished, self._on_finished)])
        if sock is not None:
            self._channel = Channel(sock, limit=MAX_FRAME_OF_PEER)
            self._open = self._conversation = Conversation(self._channel, _PEER, pid, whom, self._mailbox)
        else:
            text = f'{whom} has no channel: start it with fork(), or with "ipc" in stdio'
            self._conversation = NoConversation(text)

    @property
    def connected(self) -> bool:
        """Whether there is an open channel, so that messages can be sent."""
        return self._channel is not None and not self._channel.is_closed and not self._is_leaving

    def disconnect(self) -> None:
        """Closes the channel. What was sent before still arrives; nothing can be sent afterwards.

        Both ends emit ``disconnect`` once the other end has read everything. Does nothing if the channel is closed.
        """
        if self.connected and self._channel is not None:
            self._leave()
            self._channel.send(frames.Finished().encode())

    def _leave(self) -> None:
        self._is_leaving = True
        if self._open is not None and not self._hub.keeps_messages:
            self._open.confirm_messages()
        self._conversation = NoConversation(f"the channel to {self._whom} has been closed")

    # ---- frames

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._channel is not None:
            self._channel.attach(loop, self._receive, self._on_channel_end)

    def _receive(self, frame: RawFrame, take: TakeDescriptors) -> None:
        if frame[0] in frames.FLOW and self._open is not None:
            kind, _, number, body = flow_fields(frame)
            self._open.receive(kind, number, body, take)
        else:
            self._dispatch[frame[0]](frame, take)

    def _on_finished(self, frame: frames.Finished) -> None:
        """Closes this end too, after sending the acks and data that are still buffered."""
        assert self._channel is not None
        self._leave()
        self._channel.hurry()
        asyncio.get_running_loop().call_soon(self._hang_up)

    def _hang_up(self) -> None:
        if self._channel is not None and not self._channel.is_closed:
            self._channel.flush()
            self._channel.close()
            self._on_channel_end(None)

    def _on_channel_end(self, error: Exception | None) -> None:
        assert self._open is not None
        self._conversation = NoConversation(f"the channel to {self._whom} has been closed")
        self._ending = asyncio.get_running_loop().create_task(self._open.end())
        self._hub.complete()
        if error is not None:
            self._mailbox.complain(error)
        self._emit(Disconnect())

    def _emit(self, event: Event) -> None:
        if event.name in _AT_MOST_ONCE:
            self._once[event.name] = event
        self._hub.emit(event)
