"""The messaging methods that `WorkerProcess`, `Worker`, `ChildProcess` and `Parent` share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from .._checks import function
from .._events.emitter import E_contra, Emitter
from ..errors import ChannelClosedError
from .codec import pack, pack_exact, within_limit
from .conversation import Conversation
from .inbox import Inbox, MessageQueue
from .mailbox import RequestHandler, Requests
from .windows import UNIT, SendWindow


class NoConversation:
    """Replaces a `Conversation` if there is no channel or it is closed: every method raises.

    Args:
        text: The error's text.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    @property
    def send_window(self) -> SendWindow:
        self._refuse()

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        self._refuse()

    async def request(self, message: Any, timeout: float | None) -> Any:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ChannelClosedError(self._text)


class Peer(Emitter[E_contra]):
    """Sends messages and requests to the other end of a channel."""

    _conversation: Conversation | NoConversation

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        """Sends a message to the other end. Waits only while 512 KiB of messages to it are unacknowledged.

        If the other end disconnects, each message it did not acknowledge is emitted as ``undelivered``.

        Args:
            message: A value that msgpack can carry; see the documentation's page on messages.
            handles: Sockets to send with it. A connected one is closed here once it has been sent.
            keep_open: Keeps connected sockets open here too.

        Raises:
            ChannelClosedError: The other end is gone, or there is no channel.
            SerializationError: The message holds a value that msgpack can't carry. Nothing was sent.
            MessageTooLargeError: It is longer than 64 MiB when packed. Nothing was sent.
        """
        if handles:
            await self._conversation.send(message, handles, keep_open=keep_open)
            return
        window = self._conversation.send_window
        try:
            body: bytes = pack_exact(message)
        except Exception:
            body = pack(message)
        left = window.left - (len(body) >> UNIT) - 1
        if left >= 0:
            window.left = left
            window.bodies.append(body)
        elif not window.put_into_new_batch(body):
            await window.send(within_limit(body))

    async def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Sends a request to the other end and returns the reply of its handler (`handle_requests`).

        Args:
            message: A value that msgpack can carry, as for `send`.
            timeout: The longest wait in seconds; None waits until the other end disconnects.

        Raises:
            RemoteError: The handler raised, or there is no handler.
            TimeoutError: No reply came in time. A late one is dropped.
            ChannelClosedError: The other end is gone or disconnected before it replied, or there is no channel.
            SerializationError: As for `send`.
            MessageTooLargeError: As for `send`.
        """
        return await self._conversation.request(message, timeout)


class Answerer:
    """Answers requests."""

    _requests: Requests

    def handle_requests(self, handler: RequestHandler | None) -> None:
        """Answers requests with ``handler(message, sender)``, sync or async. The sender is a pid, or ``"host/pid"``.

        Its result is the reply. If it raises, the requester gets a `RemoteError`. With None, requests are refused.

        Raises:
            TypeError: The handler can't be called.
        """
        self._requests.handler = None if handler is None else function("handler", handler)


class InboxPeer(Peer[E_contra], Answerer):
    """A peer whose messages are kept until there is a handler or a queue for them."""

    _hub: Inbox

    def messages(self) -> MessageQueue:
        """Returns the messages that nothing has received yet, and all later ones: ``async for message in …messages()``.

        The loop ends when the channel is closed and all messages have been taken. A message is acknowledged when the
        loop asks for the next one, so a slow loop slows its senders down. Two such loops that send to each other can
        wait for each other forever: send from another task. Requests can be made within the loop, as they have a window
        of their own.
        """
        return self._hub.messages()
