"""What ``events()`` returns."""

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
    """The events since ``events()`` was called, one by one: ``async for event in cluster.events("exit")``.

    It never ends by itself. Leave the loop when you have seen enough; `close` (or the end of an ``async with``)
    drops what is still queued.
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
        """Hears no more."""
        self._unsubscribe()
        self._queue.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()


def _off_all(hub: EventHub, names: tuple[str, ...], handler: Handler) -> None:
    for name in names:
        hub.off(name, handler)
