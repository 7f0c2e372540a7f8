"""The async iterator that ``events()`` returns."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from .._no_constructor import NoConstructor
from ..events._message import Event, Message

if TYPE_CHECKING:
    from .emitter import EventHub

E_co = TypeVar("E_co", bound=Event, covariant=True)

logger = logging.getLogger("aiocluster.events")

_LIMIT = 100_000  # events besides messages that a stream keeps for a loop that does not take them


class Queued:
    """An event in a stream.

    Attributes:
        event: The event.
        let_go: Called once it has been handled: when the loop asks for the next one, or the stream is closed.
    """

    __slots__ = ("event", "let_go")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.let_go: Callable[[], None] | None = None


class EventStream(Generic[E_co], metaclass=NoConstructor, made_by="events()"):
    """Iterates over the events since ``events()`` was called: ``async for event in cluster.events("exit")``.

    The iteration never ends by itself: leave the loop when you are done. `close`, or the end of an ``async with``,
    drops the events that are still queued.

    A message is acknowledged when the loop asks for the next event, so a slow loop slows down the senders. Other
    events are few and wait for nobody: if nothing takes them, 100,000 are kept, and later ones are dropped with a
    warning.
    """

    def __init__(self, hub: EventHub, names: tuple[str, ...]) -> None:
        self._queue = queue = _Queue()
        for name in names:
            hub.on(name, queue.put)
        self._close = weakref.finalize(self, _close, hub, names, queue)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        return cast(E_co, await self._queue.take())

    def close(self) -> None:
        """Receives no more events and drops those queued. Messages among them count as handled."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()


class _Queue:
    """The events of a stream. The hub refers to it, and not to the stream, so that a forgotten stream is closed."""

    def __init__(self) -> None:
        self._waiting: deque[Queued] = deque()
        self._taken: Queued | None = None
        self._wakeup = asyncio.Event()
        self._others = 0  # events besides messages
        self._is_over_limit = False

    def put(self, event: Event) -> Queued | None:
        """The handler of the stream's events."""
        if type(event) is not Message:
            if self._others >= _LIMIT:
                self._warn()
                return None
            self._others += 1
        queued = Queued(event)
        self._waiting.append(queued)
        self._wakeup.set()
        return queued

    async def take(self) -> Event:
        """Returns the next event. The one before has been handled."""
        self._let_go()
        while not self._waiting:
            self._wakeup.clear()
            await self._wakeup.wait()
        self._taken = queued = self._waiting.popleft()
        if type(queued.event) is not Message:
            self._others -= 1
        return queued.event

    def close(self) -> None:
        """Drops all events."""
        self._let_go()
        while self._waiting:
            self._taken = self._waiting.popleft()
            self._let_go()

    def _let_go(self) -> None:
        taken, self._taken = self._taken, None
        if taken is not None and taken.let_go is not None:
            taken.let_go()

    def _warn(self) -> None:
        if not self._is_over_limit:
            self._is_over_limit = True
            logger.warning("a stream of events() holds %d events that nothing takes; later ones are dropped", _LIMIT)


def _close(hub: EventHub, names: tuple[str, ...], queue: _Queue) -> None:
    for name in names:
        hub.off(name, queue.put)
    queue.close()
