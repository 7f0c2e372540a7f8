"""The async iterator that ``events()`` returns."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from .._no_constructor import NoConstructor
from ..events._message import Event

if TYPE_CHECKING:
    from .emitter import EventHub, Handler

E_co = TypeVar("E_co", bound=Event, covariant=True)


class EventStream(Generic[E_co], metaclass=NoConstructor, made_by="events()"):
    """Iterates over the events since ``events()`` was called: ``async for event in cluster.events("exit")``.

    The iteration never ends by itself: leave the loop when you are done. `close`, or the end of an ``async with``,
    drops the events that are still queued.
    """

    def __init__(self, hub: EventHub, names: tuple[str, ...]) -> None:
        self._queue: deque[Event] = deque()
        self._wakeup = asyncio.Event()
        queue, wakeup = self._queue, self._wakeup

        def put(event: Event) -> None:
            queue.append(event)
            wakeup.set()

        for name in names:
            hub.on(name, put)
        self._unsubscribe = weakref.finalize(self, _off_all, hub, names, put)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E_co:
        while not self._queue:
            self._wakeup.clear()
            await self._wakeup.wait()
        return cast(E_co, self._queue.popleft())

    def close(self) -> None:
        """Receives no more events and drops those queued."""
        self._unsubscribe()
        self._queue.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()


def _off_all(hub: EventHub, names: tuple[str, ...], handler: Handler) -> None:
    for name in names:
        hub.off(name, handler)
