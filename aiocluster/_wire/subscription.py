"""`Subscription`: the messages of some topics, as users iterate over them.

It keeps packed batches, and unpacks one when its turn has come. So several subscriptions share the packed bytes and
never a message, and what is dropped is never unpacked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from .._events.emitter import LetGo
from .._no_constructor import NoConstructor
from ..errors import ProtocolError
from .codec import unpack, unpack_batch
from .windows import WINDOW, ReceiveWindow

if TYPE_CHECKING:
    from .topics import Topics

OnFull = Literal["wait", "drop_oldest"]

ROOM = WINDOW
"""Bytes of messages that a subscription keeps without their publishers waiting: then the oldest of these is dropped."""

_OVERHEAD = 32  # bytes that each batch costs besides its own, as in a window


class _Arrived(NamedTuple):
    """A batch of messages in a subscription."""

    order: int
    topic: str
    sender: int | str
    messages: int
    body: bytes
    let_go: LetGo


class Subscription(metaclass=NoConstructor, made_by="subscribe()"):
    """What ``subscribe()`` returns: the messages of its topics, as an async context manager and iterator.

    ::

        async with worker.subscribe("news", "weather") as messages:
            async for message in messages:
                print(messages.topic, messages.sender, message)

    It subscribes when the block is entered: what is published afterwards arrives. The loop ends when the channel to the
    primary has ended and all messages have been taken. A subscription is for the event loop in which it was entered,
    and can be entered once.

    Attributes:
        topic: The topic of the message last returned; empty before the first.
        sender: Who published it: a pid, or ``"host/pid"`` in another cluster of the fleet; 0 before the first.
        dropped: How many messages it has not got since it was entered, because it did not take them fast enough.
    """

    def __init__(self, topics: Topics, names: tuple[str, ...], on_full: OnFull) -> None:
        self.topic: str = ""
        self.sender: int | str = 0
        self.dropped: int = 0
        self._topics = topics
        self._names = names
        self._waits = on_full == "wait"
        self._batch: Iterator[Any] = iter(())  # the rest of the batch that is being taken
        self._let_go: LetGo = _done  # acknowledges it
        self._held: deque[_Arrived] = deque()  # their publishers wait for them to be taken
        self._bounded: deque[_Arrived] = deque()  # the oldest of these may be dropped
        self._room = ROOM  # bytes left for these
        self._order = 0  # of the batch that has arrived last
        self._state: Literal["new", "open", "complete", "closed"] = "new"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakeup = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Subscribes. Returns once the primary knows of it.

        Raises:
            ChannelClosedError: The channel to the primary has ended.
            RuntimeError: It has been entered already.
        """
        if self._state != "new":
            raise RuntimeError("this subscription has been entered already: call subscribe() again")
        self._loop = asyncio.get_running_loop()
        self._state = "open"
        try:
            await self._topics.add(self, self._names)
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Unsubscribes. What has arrived and was not taken is dropped. Leaving the block calls this."""
        if self._state in ("open", "complete"):
            self._state = "closed"
            self._topics.remove(self, self._names)
        self._state = "closed"
        self._batch = iter(())
        self._acknowledge()
        self._bounded.clear()
        while self._held:
            self._held.popleft().let_go()
        self._wake()

    def __del__(self) -> None:
        if self._state == "open" and (self._held or self._let_go is not _done):
            # The loop that it was iterated in is gone. This may be another thread than that of the loop that runs now.
            self._topics.abandoned([self._let_go, *(arrived.let_go for arrived in self._held)])

    # ---- in

    def _put(self, topic: str, sender: int | str, count: int, body: bytes, window: ReceiveWindow) -> None:
        """Messages that others have published have arrived."""
        self._order += 1
        if self._waits:
            self._held.append(_Arrived(self._order, topic, sender, count, body, window.hold()))
        else:
            self._put_bounded(topic, sender, count, body)
        if not self._wakeup.is_set():
            self._wake()

    def _put_own(self, topic: str, sender: int, body: bytes) -> None:
        """This process has published a message."""
        self._order += 1
        self._put_bounded(topic, sender, 1, body)
        if not self._wakeup.is_set():
            self._wake()

    def _put_bounded(self, topic: str, sender: int | str, count: int, body: bytes) -> None:
        bounded = self._bounded
        bounded.append(_Arrived(self._order, topic, sender, count, body, _done))
        self._room -= len(body) + _OVERHEAD
        while self._room < 0 and len(bounded) > 1:
            oldest = bounded.popleft()
            self._room += len(oldest.body) + _OVERHEAD
            self.dropped += oldest.messages

    def _complete(self) -> None:
        """Nothing more will arrive: the channel has ended."""
        if self._state == "open":
            self._state = "complete"
            self._wake()

    def _wake(self) -> None:
        if self._loop is not None and self._loop.is_closed():
            if self._state == "open":
                self.close()  # nobody can take anything any more
        else:
            self._wakeup.set()

    # ---- out

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        for message in self._batch:
            return message
        return await self._next()

    async def _next(self) -> Any:
        while True:
            self._acknowledge()
            arrived = self._take()
            if arrived is not None:
                self._let_go = arrived.let_go
                if (batch := self._unpacked(arrived)) is not None:
                    self.topic, self.sender = arrived.topic, arrived.sender
                    self._batch = batch
                    for message in batch:
                        return message
            elif self._state == "open":
                self._wakeup.clear()
                await self._wakeup.wait()
            elif self._state == "new":
                raise RuntimeError("enter the subscription first: async with subscribe(…) as messages")
            else:
                raise StopAsyncIteration

    def _take(self) -> _Arrived | None:
        """Returns the batch that has arrived first."""
        held, bounded = self._held, self._bounded
        if not bounded:
            return held.popleft() if held else None
        if held and held[0].order < bounded[0].order:
            return held.popleft()
        arrived = bounded.popleft()
        self._room += len(arrived.body) + _OVERHEAD
        return arrived

    def _unpacked(self, arrived: _Arrived) -> Iterator[Any] | None:
        """Returns its messages; None if the publisher sent bytes that are none."""
        count, body = arrived.messages, arrived.body
        try:
            return iter((unpack(body),) if count == 1 else unpack_batch(body, count))
        except ProtocolError as error:
            self._topics.complain(ProtocolError(f"{arrived.sender} published an invalid message: {error}"))
            return None

    def _acknowledge(self) -> None:
        let_go, self._let_go = self._let_go, _done
        let_go()


def _done() -> None:
    """There is nothing to acknowledge."""
