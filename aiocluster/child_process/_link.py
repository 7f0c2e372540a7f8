"""One end of the channel between a process and its child: the same on both sides."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterable
from typing import Any

from .._events.emitter import E_contra, Emitter
from .._wire import frames as kinds
from .._wire.channel import Channel
from .._wire.codec import Frame, encode
from .._wire.conversation import Conversation, RequestHandler, TakeDescriptors
from .._wire.inbox import Inbox, MessageQueue
from .._wire.windows import ReceiveWindow
from ..errors import ChannelClosedError, ProtocolError
from ..events import Disconnect, Error, Event, Undelivered

logger = logging.getLogger("aiocluster.child_process")

_PEER = 0  # what frames name: there is but one other end
_AT_MOST_ONCE = frozenset({"spawn", "exit", "close", "disconnect"})


class Link(Emitter[E_contra]):
    """What `ChildProcess` and `Parent` share: messages, requests and handles, both ways, over one channel.

    Attributes:
        pid: The other process's id.
        request_handler: What answers requests: see `handle_requests`.
    """

    def __init__(self, sock: socket.socket | None, pid: int, whom: str) -> None:
        self.pid = pid
        self.request_handler: RequestHandler | None = None
        self._hub: Inbox = Inbox()
        self._whom = whom
        self._channel: Channel | None = None
        self._conversation: Conversation | None = None
        self._is_leaving = False
        self._ending: asyncio.Task[None] | None = None
        self._happened: dict[str, Event] = {}
        if sock is not None:
            self._channel = Channel(sock)
            self._conversation = Conversation(self._channel, _PEER, pid, whom, self)

    @property
    def connected(self) -> bool:
        """Whether there is a channel that has not been closed: messages can be sent."""
        return self._channel is not None and not self._channel.is_closed and not self._is_leaving

    # ---- messages

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        """Sends the other end a message; waits only while it has 512 KiB of ours that it has not confirmed.

        What it has not confirmed when it goes comes back as the event ``undelivered``.

        Args:
            message: What msgpack carries; see the documentation's page on messages.
            handles: Sockets that go along. A connected one is closed here once it has been sent.
            keep_open: Keeps connected ones open here too.

        Raises:
            ChannelClosedError: There is no channel, or it has been closed.
            SerializationError: The message holds something else; nothing was sent.
            MessageTooLargeError: It has more than 64 MiB packed; nothing was sent.
        """
        conversation = self._open_conversation()
        if handles:
            await conversation.send(message, handles, keep_open=keep_open)
        elif wait := conversation.put(message):
            await wait

    async def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Sends the other end a request and returns what its handler (`handle_requests`) replies.

        Args:
            message: Like a message's.
            timeout: Seconds to wait at most; None waits as long as the channel lasts.

        Raises:
            RemoteError: Its handler raised, or it has none.
            TimeoutError: No reply came in time; a late one is dropped.
            ChannelClosedError: There is no channel, or it was closed before the reply came.
            SerializationError: As for `send`.
            MessageTooLargeError: As for `send`.
        """
        return await self._open_conversation().request(message, timeout)

    def handle_requests(self, handler: RequestHandler | None) -> None:
        """Answers requests from now on: ``handler(message, sender)``, sync or async.

        What it returns is the reply; what it raises is the requester's `RemoteError`.
        """
        self.request_handler = handler

    def messages(self) -> MessageQueue:
        """The messages from now on, and those that nobody has heard: ``async for message in child.messages()``.

        The loop ends when the channel has been closed and all that came has been taken. A message is confirmed to its
        sender once the next one is asked for, so a slow loop slows the sender down.
        """
        return self._hub.messages()

    def disconnect(self) -> None:
        """Closes the channel: what was sent before still arrives, and nothing can be sent after.

        The event ``disconnect`` follows at both ends when the other one has read so far. Nothing if it is closed.
        """
        if self.connected and self._channel is not None:
            self._is_leaving = True
            self._channel.send(encode(kinds.LEAVING))

    def _open_conversation(self) -> Conversation:
        if self._conversation is None:
            raise ChannelClosedError(f'{self._whom} has no channel: start it with fork(), or with "ipc" in stdio')
        if not self.connected:
            raise ChannelClosedError(f"the channel to {self._whom} has been closed")
        return self._conversation

    # ---- what conversation.Mailbox asks for

    def deliver(
        self, sender: int, messages: Iterable[Any], handles: tuple[socket.socket, ...], receive_window: ReceiveWindow
    ) -> None:
        self._hub.deliver(sender, messages, handles, receive_window)

    async def call(self, named: Any, args: list[Any]) -> Any:
        raise ProtocolError("only a primary may have functions called, and only by its workers")

    def complain(self, error: Exception) -> None:
        logger.error("%s", error)
        self._hub.emit(Error(None, error))

    def give_back(self, pid: int, message: Any) -> None:
        self._hub.emit(Undelivered(pid, message))

    # ---- frames

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._channel is not None:
            self._channel.attach(loop, self._receive, self._on_channel_end)

    def _receive(self, frame: Frame, take: TakeDescriptors) -> None:
        kind = frame[0]
        if kind == kinds.LEAVING:
            self._on_leaving()
        elif kind in kinds.FLOW and self._conversation is not None:
            _, _, number, body = frame
            self._conversation.receive(kind, number, body, take)
        else:
            raise ProtocolError(f"{self._whom} sent a frame of unknown kind {kind!r}")

    def _on_leaving(self) -> None:
        """The other end has said all. It learns of ours what it can, above all that we have heard it."""
        assert self._channel is not None
        self._is_leaving = True
        self._channel.hurry()
        asyncio.get_running_loop().call_soon(self._hang_up)

    def _hang_up(self) -> None:
        if self._channel is not None and not self._channel.is_closed:
            self._channel.flush()
            self._channel.close()
            self._on_channel_end(None)

    def _on_channel_end(self, error: Exception | None) -> None:
        assert self._conversation is not None
        self._ending = asyncio.get_running_loop().create_task(self._conversation.end())
        self._hub.complete()
        if error is not None:
            self.complain(error)
        self._emit(Disconnect())

    def _emit(self, event: Event) -> None:
        if event.name in _AT_MOST_ONCE:
            self._happened[event.name] = event
        self._hub.emit(event)
