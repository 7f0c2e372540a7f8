"""The other end of a channel, as users have it: what `WorkerProcess`, `Worker`, `ChildProcess` and `Parent` share."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any, NoReturn

from .._events.emitter import E_contra, Emitter
from ..errors import ChannelClosedError
from .conversation import Conversation
from .inbox import Inbox, MessageQueue
from .mailbox import RequestHandler, Requests


class NoConversation:
    """In place of a `Conversation` where there is none, or none any more.

    Args:
        text: What the error says.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def put(self, message: Any) -> Awaitable[None] | None:
        self._refuse()

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        self._refuse()

    async def request(self, message: Any, timeout: float | None) -> Any:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ChannelClosedError(self._text)


class Peer(Emitter[E_contra]):
    """Sends to the other end."""

    _conversation: Conversation | NoConversation

    async def send(self, message: Any, handles: Iterable[Any] = (), *, keep_open: bool = False) -> None:
        """Sends the other end a message; waits only while it has 512 KiB of ours that it has not acknowledged.

        What it has not acknowledged when it goes comes back as the event ``undelivered``.

        Args:
            message: What msgpack carries; see the documentation's page on messages.
            handles: Sockets that go along. A connected one is closed here once it has been sent.
            keep_open: Keeps connected ones open here too.

        Raises:
            ChannelClosedError: The other end is gone, or there is no channel.
            SerializationError: The message holds something that msgpack does not carry; nothing was sent.
            MessageTooLargeError: It has more than 64 MiB packed; nothing was sent.
        """
        if handles:
            await self._conversation.send(message, handles, keep_open=keep_open)
        elif wait := self._conversation.put(message):
            await wait

    async def request(self, message: Any, *, timeout: float | None = None) -> Any:
        """Sends the other end a request and returns what its handler (`handle_requests`) replies.

        Args:
            message: Like a message's.
            timeout: Seconds to wait at most; None waits as long as the other end lives.

        Raises:
            RemoteError: Its handler raised, or it has none.
            TimeoutError: No reply came in time; a late one is dropped.
            ChannelClosedError: It is gone, or went before it replied; or there is no channel.
            SerializationError: As for `send`.
            MessageTooLargeError: As for `send`.
        """
        return await self._conversation.request(message, timeout)


class Answerer:
    """Answers requests."""

    _requests: Requests

    def handle_requests(self, handler: RequestHandler | None) -> None:
        """Answers requests from now on: ``handler(message, sender)``, sync or async.

        What it returns is the reply; what it raises is the requester's `RemoteError`. None: requests are refused.
        """
        self._requests.handler = handler


class InboxPeer(Peer[E_contra], Answerer):
    """One whose messages wait until somebody asks for them."""

    _hub: Inbox

    def messages(self) -> MessageQueue:
        """The messages from now on, and those that nobody has received: ``async for message in …messages()``.

        The loop ends when the channel has been closed and all messages have been taken. A message is acknowledged to
        its sender once the next one is asked for, so a slow loop slows its senders down. Two such loops that send to
        each other can wait for each other forever: send from another task. Requests may be made from within the loop;
        they have a window of their own.
        """
        return self._hub.messages()
