"""The hub behind ``on()``, ``off()``, ``wait_for()`` and ``events()``.

A hub calls the handlers of an event in the order they were added; what it has heard, its parent hears next, so a
worker's events reach the primary's handlers as well.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from ..events._either import Error
from ..events._message import Event, Message, MessageDraft

if TYPE_CHECKING:
    import socket

    from .._primary.worker_process import WorkerProcess

logger = logging.getLogger("aiocluster.events")

Handler = Callable[[Any], Any]
H = TypeVar("H", bound=Handler)

_new = object.__new__

NAMES = frozenset(
    {
        "close",
        "disconnect",
        "error",
        "exit",
        "fork",
        "give_up",
        "listening",
        "message",
        "online",
        "setup",
        "shutdown",
        "spawn",
        "undelivered",
    }
)


class EventHub:
    """Handlers by event name.

    Args:
        parent: Hears every event after this hub's own handlers.
    """

    def __init__(self, parent: EventHub | None = None) -> None:
        self._parent = parent
        self._root: EventHub = parent._root if parent is not None else self
        self._children: weakref.WeakSet[EventHub] = weakref.WeakSet()
        self._own: dict[str, tuple[Handler, ...]] = {}
        self._called: dict[str, tuple[Handler, ...]] = {}  # its own handlers and those of all above, ready for `emit`
        self._tasks: set[asyncio.Task[None]] = set()
        if parent is not None:
            parent._children.add(self)
            self._called.update(parent._called)

    def on(self, name: str, handler: Handler) -> None:
        """Adds a handler. The same handler added twice is called twice."""
        self._own[_checked(name)] = (*self._own.get(name, ()), handler)
        self._collect(name)

    def off(self, name: str, handler: Handler) -> None:
        """Removes a handler, the one added last if it was added more than once; nothing if it never was."""
        handlers = list(self._own.get(_checked(name), ()))
        if handler in handlers:
            handlers.reverse()
            handlers.remove(handler)
            handlers.reverse()
            self._own[name] = tuple(handlers)
            self._collect(name)

    def _collect(self, name: str) -> None:
        above = self._parent._called.get(name, ()) if self._parent is not None else ()
        self._called[name] = (*self._own.get(name, ()), *above)
        for child in self._children:
            child._collect(name)

    def hears(self, name: str) -> bool:
        """Whether there is a handler for events of that name."""
        return bool(self._called.get(name))

    def emit(self, event: Event) -> None:
        """Calls the handlers now. One that raises is logged, emitted as `Error`, and stops nothing."""
        for handler in self._called.get(event.name, ()):
            try:
                result = handler(event)
                if result is not None and inspect.isawaitable(result):
                    self._start(handler, event, result)
            except Exception as error:
                self._failed(handler, event, error)

    def emit_messages(
        self, sender: int, messages: Iterable[Any], handles: tuple[socket.socket, ...], worker: WorkerProcess | None
    ) -> None:
        """What `emit` does for a `Message` with each of these, in less time: this is done more often than all else."""
        called = self._called
        for message in messages:
            event = _new(MessageDraft)
            event.sender = sender
            event.message = message
            event.handles = handles
            event.worker = worker
            event.__class__ = Message  # type: ignore[assignment]
            for handler in called.get("message", ()):
                try:
                    result = handler(event)
                    if result is not None and inspect.isawaitable(result):
                        self._start(handler, event, result)
                except Exception as error:
                    self._failed(handler, event, error)

    def emit_soon(self, event: Event) -> None:
        """Calls the handlers in a later turn of the loop, so that the caller can still add some."""
        asyncio.get_running_loop().call_soon(self.emit, event)

    async def drain(self) -> None:
        """Returns when the async handlers that are running have ended; cancels them if it is cancelled."""
        while tasks := self._tasks - {asyncio.current_task()}:
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError:
                for task in tasks:
                    task.cancel()
                raise

    def cancel(self) -> None:
        """Cancels the async handlers that are running; follow it with `drain`."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _start(self, handler: Handler, event: Event, result: Any) -> None:
        async def run() -> None:
            try:
                await result
            except Exception as error:
                self._failed(handler, event, error)

        tasks = self._root._tasks
        task = asyncio.get_running_loop().create_task(run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def _failed(self, handler: Handler, event: Event, error: Exception) -> None:
        name = getattr(handler, "__qualname__", repr(handler))
        logger.error("handler %s of event %r raised", name, event.name, exc_info=error)
        if event.name != Error.name:
            self.emit(Error(getattr(event, "worker", None), error))


class EventStream(AsyncIterator[Any]):
    """What ``events()`` returns: the events since it was called, one by one.

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

    async def __anext__(self) -> Any:
        while not self._queue:
            self._wakeup.clear()
            await self._wakeup.wait()
        return self._queue.popleft()

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


class Emitter:
    """The event methods that `Cluster`, `Primary`, `WorkerProcess` and `Worker` share."""

    _hub: EventHub
    _happened: Mapping[str, Event] = MappingProxyType({})
    """The events that come at most once and have come: `wait_for` returns them at once."""

    @overload
    def on(self, name: str) -> Callable[[H], H]: ...
    @overload
    def on(self, name: str, handler: H) -> H: ...
    def on(self, name: str, handler: H | None = None) -> H | Callable[[H], H]:
        """Calls ``handler(event)`` at each event of that name; without a handler, a decorator.

        Handlers are sync or async. One that raises is logged and emitted as ``error``, and stops nothing.

        Raises:
            ValueError: There is no event of that name.
        """
        if handler is None:
            _checked(name)
            return lambda handler: self.on(name, handler)
        self._hub.on(name, handler)
        return handler

    def off(self, name: str, handler: Handler) -> None:
        """Calls that handler no more; nothing if it was not added.

        Raises:
            ValueError: There is no event of that name.
        """
        self._hub.off(name, handler)

    async def wait_for(self, name: str, *, timeout: float | None = None) -> Any:
        """Returns the next event of that name.

        Args:
            name: The event's name.
            timeout: Seconds to wait at most; None waits for ever.

        Raises:
            TimeoutError: None came in time.
            ValueError: There is no event of that name.
        """
        if name in self._happened:
            return self._happened[name]
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def heard(event: Event) -> None:
            if not future.done():
                future.set_result(event)

        self._hub.on(name, heard)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self._hub.off(name, heard)

    def events(self, *names: str) -> EventStream:
        """The events of these names (of any name if none is given) from now on: ``async for event in …``."""
        for name in names:
            _checked(name)
        return EventStream(self._hub, names or tuple(sorted(NAMES)))


def _checked(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"no event is called {name!r}; there are {', '.join(sorted(NAMES))}")
    return name
