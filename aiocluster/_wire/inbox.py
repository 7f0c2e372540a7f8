"""Delivers the messages that this process receives to handlers and to ``messages()``."""

from __future__ import annotations

import asyncio
import logging
import socket
import weakref
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Any, Self

from .._events.emitter import EventHub, Handler, Hold, LetGo
from .._no_constructor import NoConstructor
from ..events import Message
from .windows import ReceiveWindow

logger = logging.getLogger("aiocluster.inbox")

_PATIENCE = 30.0  # seconds that messages are kept until there is a handler or a queue


class Inbox(EventHub):
    """An event hub that keeps messages until there is a handler or a queue for them, as Node's child processes do.

    Kept messages are not acknowledged, so each sender's send window limits them. If there is neither a handler nor a
    queue within 30 seconds of the first message, the inbox logs a warning and drops the kept messages and all later
    ones. Otherwise a program that sends to all workers would wait forever for one that never receives.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unheard: deque[tuple[Message, Hold, LetGo]] | None = deque()
        self._queues: weakref.WeakSet[MessageQueue] = weakref.WeakSet()
        self._is_complete = False

    def on(self, name: str, handler: Handler) -> None:
        super().on(name, handler)
        if name == Message.name:
            self._somebody_asks()

    def messages(self) -> MessageQueue:
        """A queue of the kept messages and of all later ones."""
        queue = MessageQueue._create(self._queues)
        self._somebody_asks()
        if self._is_complete:
            asyncio.get_running_loop().call_soon(queue._complete)  # after the kept messages were put into it
        return queue

    @property
    def keeps_messages(self) -> bool:
        """Whether there are messages that nothing has received."""
        return bool(self._unheard)

    def complete(self) -> None:
        """No more messages will arrive: each queue ends once its messages have been taken."""
        self._is_complete = True
        for queue in self._queues:
            queue._complete()

    def close(self) -> None:
        """Drops the kept messages and closes the handles that came with them."""
        unheard, self._unheard = self._unheard, None
        for event, _, let_go in unheard or ():
            for sock in event.handles:
                sock.close()
            let_go()

    def deliver(
        self,
        sender: int | str,
        messages: Iterable[Any],
        handles: tuple[socket.socket, ...],
        receive_window: ReceiveWindow,
    ) -> None:
        """The messages of one frame have arrived."""
        if self._unheard is not None:
            if not self.hears(Message.name) and not self._queues:
                self._keep(sender, messages, handles, receive_window)
                return
            self._deliver_unheard()
        hold = receive_window.hold
        if not self._queues:
            self.emit_messages(sender, messages, handles, None, hold)
            return
        for message in messages:
            self._hand_out(Message(sender, message, handles), hold)

    def _keep(
        self,
        sender: int | str,
        messages: Iterable[Any],
        handles: tuple[socket.socket, ...],
        receive_window: ReceiveWindow,
    ) -> None:
        assert self._unheard is not None
        if not self._unheard:
            asyncio.get_running_loop().call_later(_PATIENCE, self._lose_patience)
        hold = partial(receive_window.hold, receive_window.frame)
        for message in messages:
            self._unheard.append((Message(sender, message, handles), hold, hold()))

    def _lose_patience(self) -> None:
        if self._unheard:
            logger.warning(
                "dropped %d messages that nothing received within %g seconds; later ones are dropped too until "
                "there is a handler or a queue: on('message', …), messages()",
                len(self._unheard),
                _PATIENCE,
            )
        self.close()

    def _somebody_asks(self) -> None:
        if self._unheard:
            asyncio.get_running_loop().call_soon(self._deliver_unheard)

    def _deliver_unheard(self) -> None:
        unheard, self._unheard = self._unheard, None
        for event, hold, let_go in unheard or ():
            self._hand_out(event, hold)
            let_go()

    def _hand_out(self, event: Message, hold: Hold) -> None:
        self.emit(event, hold)
        for queue in self._queues:
            queue._put(event, hold())


class MessageQueue(metaclass=NoConstructor, made_by="messages()"):
    """What ``messages()`` returns: an async iterator over the messages.

    Attributes:
        sender: Who sent the last message returned: a pid, or ``"host/pid"``; 0 before the first.
        handles: The sockets that came with that message.
    """

    def __init__(self, queues: weakref.WeakSet[MessageQueue]) -> None:
        self.sender: int | str = 0
        self.handles: tuple[socket.socket, ...] = ()
        self._waiting: deque[tuple[Message, LetGo]] = deque()
        self._wakeup = asyncio.Event()
        self._is_complete = False
        self._let_go: LetGo = _done
        self._queues = queues
        queues.add(self)

    def _put(self, event: Message, let_go: LetGo) -> None:
        """Queues a message; ``let_go`` is called once it has been handled."""
        self._waiting.append((event, let_go))
        self._wakeup.set()

    def _complete(self) -> None:
        """No more messages will be put."""
        self._is_complete = True
        self._wakeup.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        self._ack()
        while not self._waiting:
            if self._is_complete:
                raise StopAsyncIteration
            self._wakeup.clear()
            await self._wakeup.wait()
        event, self._let_go = self._waiting.popleft()
        self.sender, self.handles = event.sender, event.handles
        return event.message

    def close(self) -> None:
        """Receives no more messages. Those still queued count as handled."""
        self._queues.discard(self)
        self._ack()
        while self._waiting:
            self._waiting.popleft()[1]()

    def __del__(self) -> None:
        self.close()  # an abandoned loop must not block its senders

    def _ack(self) -> None:
        let_go, self._let_go = self._let_go, _done
        let_go()


def _done() -> None:
    """There is nothing to acknowledge."""
