"""The event hub behind ``on()``, ``off()``, ``wait_for()`` and ``events()``.

A hub calls its handlers of an event in the order they were added, then those of its parent. So a worker's events reach
the primary's handlers too.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar, get_args, overload

from .._checks import function
from .._interruption import ends_task, pass_on_interruption
from ..errors import StoppingError
from ..events._either import Error
from ..events._message import Event, Message, MessageDraft
from .stream import EventStream, Queued

E = TypeVar("E", bound=Event)
E_contra = TypeVar("E_contra", bound=Event, contravariant=True)
R = TypeVar("R")

if TYPE_CHECKING:
    import socket

    from ..events import (
        Backplane,
        ChildExit,
        Close,
        Disconnect,
        Exit,
        Fork,
        GiveUp,
        Listening,
        Online,
        Setup,
        Shutdown,
        Slow,
        Spawn,
        Undelivered,
    )

    class Decorator(Protocol[E]):
        """What ``on("…")`` returns: a decorator that adds a handler of that event and returns it."""

        def __call__(self, handler: Callable[[E], R], /) -> Callable[[E], R]: ...


logger = logging.getLogger("aiocluster.events")

Handler = Callable[[Any], Any]
LetGo = Callable[[], None]
Hold = Callable[[], LetGo]
Seconds = float | None

_CANCELLED = 1.0  # seconds between the cancellation of an async handler and the confirmation of its message

Name = Literal[
    "backplane",
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
    "slow",
    "spawn",
    "undelivered",
]
"""The names that `Emitter.on` takes. The overloads of `Emitter` give the event class of each name."""

# The events of each kind of emitter. In quotes, because a worker must not import the primary's events.
PrimaryEvent: TypeAlias = (
    "Setup | Fork | Online | Listening | Message | Disconnect | Exit | Error | Undelivered | Slow | GiveUp | Backplane"
)
WorkerProcessEvent: TypeAlias = "Fork | Online | Listening | Message | Disconnect | Exit | Error | Undelivered | Slow"
WorkerEvent: TypeAlias = "Message | Disconnect | Error | Undelivered | Shutdown | Backplane"
ChildEvent: TypeAlias = "Spawn | Message | Disconnect | ChildExit | Close | Error | Undelivered"
ParentEvent: TypeAlias = "Message | Disconnect | Error | Undelivered"

NAMES: frozenset[str] = frozenset(get_args(Name))


class EventHub:
    """Handlers by event name.

    Args:
        parent: Its handlers are called for each event after this hub's own.
    """

    def __init__(self, parent: EventHub | None = None) -> None:
        self._parent = parent
        self._root: EventHub = parent._root if parent is not None else self
        self._children: weakref.WeakSet[EventHub] = weakref.WeakSet()
        self._own: dict[str, tuple[Handler, ...]] = {}
        # Its own and its ancestors' handlers, ready for `emit`.
        self._called: dict[str, tuple[Handler, ...]] = {Message.name: ()}
        self._tasks: set[asyncio.Task[None]] = set()
        if parent is not None:
            parent._children.add(self)
            self._called.update(parent._called)

    def on(self, name: str, handler: Handler) -> None:
        """Adds a handler. The same handler added twice is called twice."""
        self._own[_checked(name)] = (*self._own.get(name, ()), function("handler", handler))
        self._collect(name)

    def off(self, name: str, handler: Handler) -> None:
        """Removes a handler: the last one if it was added more than once. Does nothing if it was not added."""
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

    def emit(self, event: Event, hold: Hold | None = None) -> None:
        """Calls the handlers now. If one raises, logs it, emits `Error`, and continues with the next.

        So it never raises, not even at Ctrl-C, which it passes on to the loop.

        Args:
            event: The event.
            hold: Called for each async handler and for each stream: what it returns is called once the handler has
                ended, or the event has been taken from the stream and handled.
        """
        for handler in self._called.get(event.name, ()):
            try:
                result = handler(event)
                if result is not None:
                    self._go_on(handler, event, result, hold)
            except BaseException as error:
                self._failed(handler, event, error)

    def emit_messages(
        self,
        sender: int | str,
        messages: Iterable[Any],
        handles: tuple[socket.socket, ...],
        worker: Any,
        hold: Hold | None = None,
    ) -> None:
        """Emits a `Message` for each of these, faster than `emit` does: messages are the most frequent events."""
        called = self._called
        for message in messages:
            event = MessageDraft()
            event.sender = sender
            event.message = message
            event.handles = handles
            event.worker = worker
            event.__class__ = Message
            for handler in called["message"]:
                try:
                    if (result := handler(event)) is not None:
                        self._go_on(handler, event, result, hold)
                except BaseException as error:
                    self._failed(handler, event, error)

    async def next(self, name: str, *, timeout: float | None = None) -> Any:
        """Returns the next event of that name; raises TimeoutError if none comes within ``timeout`` seconds."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def heard(event: Event) -> None:
            if not future.done():
                future.set_result(event)

        self.on(name, heard)
        try:
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self.off(name, heard)

    def emit_soon(self, event: Event) -> None:
        """Calls the handlers in the loop's next iteration, so that the caller can still add some."""
        asyncio.get_running_loop().call_soon(self.emit, event)

    async def drain(self) -> None:
        """Waits until all running async handlers have ended. If it is cancelled, it cancels them."""
        while tasks := self._tasks - {asyncio.current_task()}:
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError:
                for task in tasks:
                    task.cancel()
                raise

    def cancel(self) -> None:
        """Cancels the running async handlers. Call `drain` afterwards."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    def _go_on(self, handler: Handler, event: Event, result: Any, hold: Hold | None) -> None:
        """A handler has not yet finished with an event: it is async, or a stream's."""
        if type(result) is Queued:
            if hold is not None:
                result.let_go = hold()
        elif inspect.isawaitable(result):
            task = asyncio.get_running_loop().create_task(self._run(handler, event, result))
            self._root._tasks.add(task)
            task.add_done_callback(partial(self._ended, result, hold() if hold is not None else None))

    async def _run(self, handler: Handler, event: Event, result: Awaitable[Any]) -> None:
        task = asyncio.current_task()
        try:
            await result
        except BaseException as error:
            if ends_task(error, task):
                raise
            self._failed(handler, event, error)

    def _ended(self, result: Any, let_go: LetGo | None, task: asyncio.Task[None]) -> None:
        """An async handler has ended: confirms what it has handled.

        One that was cancelled is given a little longer: if it was cancelled because the loop ends, nothing is
        confirmed, and the message comes back to its sender.
        """
        self._root._tasks.discard(task)
        if inspect.iscoroutine(result):
            result.close()  # if the task was cancelled before its first step, nothing has awaited it
        if task.cancelled():
            if let_go is not None:
                task.get_loop().call_later(_CANCELLED, let_go)
            return
        task.exception()  # an interruption, which the loop has raised
        if let_go is not None:
            let_go()

    def _failed(self, handler: Handler, event: Event, error: BaseException) -> None:
        if pass_on_interruption(error):
            return
        name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
        if isinstance(error, StoppingError):  # a handler of `exit` that forks again, as Node's do
            logger.debug("handler %s of event %r: %s", name, event.name, error)
            return
        logger.error("handler %s of event %r raised", name, event.name, exc_info=error)
        if event.name != Error.name:
            self.emit(Error(getattr(event, "worker", None), error))


class Emitter(Generic[E_contra]):
    """The event methods that `Cluster`, `Primary`, `WorkerProcess`, `Worker`, `ChildProcess` and `Parent` share.

    A subclass declares its events: ``class Worker(Emitter[WorkerEvent])``. From this and the overloads, a type checker
    knows which names its methods take, and the event class of each name.
    """

    _hub: EventHub
    _happened: Mapping[str, Event] = MappingProxyType({})
    """The events that happen only once and have happened. `wait_for` returns these at once."""

    if TYPE_CHECKING:

        @overload
        def on(self: Emitter[Setup], name: Literal["setup"]) -> Decorator[Setup]: ...
        @overload
        def on(self: Emitter[Setup], name: Literal["setup"], handler: Callable[[Setup], R]) -> Callable[[Setup], R]: ...
        @overload
        def on(self: Emitter[Fork], name: Literal["fork"]) -> Decorator[Fork]: ...
        @overload
        def on(self: Emitter[Fork], name: Literal["fork"], handler: Callable[[Fork], R]) -> Callable[[Fork], R]: ...
        @overload
        def on(self: Emitter[Online], name: Literal["online"]) -> Decorator[Online]: ...
        @overload
        def on(
            self: Emitter[Online], name: Literal["online"], handler: Callable[[Online], R]
        ) -> Callable[[Online], R]: ...
        @overload
        def on(self: Emitter[Listening], name: Literal["listening"]) -> Decorator[Listening]: ...
        @overload
        def on(
            self: Emitter[Listening], name: Literal["listening"], handler: Callable[[Listening], R]
        ) -> Callable[[Listening], R]: ...
        @overload
        def on(self: Emitter[Exit], name: Literal["exit"]) -> Decorator[Exit]: ...
        @overload
        def on(self: Emitter[Exit], name: Literal["exit"], handler: Callable[[Exit], R]) -> Callable[[Exit], R]: ...
        @overload
        def on(self: Emitter[GiveUp], name: Literal["give_up"]) -> Decorator[GiveUp]: ...
        @overload
        def on(
            self: Emitter[GiveUp], name: Literal["give_up"], handler: Callable[[GiveUp], R]
        ) -> Callable[[GiveUp], R]: ...
        @overload
        def on(self: Emitter[Slow], name: Literal["slow"]) -> Decorator[Slow]: ...
        @overload
        def on(self: Emitter[Slow], name: Literal["slow"], handler: Callable[[Slow], R]) -> Callable[[Slow], R]: ...
        @overload
        def on(self: Emitter[Backplane], name: Literal["backplane"]) -> Decorator[Backplane]: ...
        @overload
        def on(
            self: Emitter[Backplane], name: Literal["backplane"], handler: Callable[[Backplane], R]
        ) -> Callable[[Backplane], R]: ...
        @overload
        def on(self: Emitter[Message], name: Literal["message"]) -> Decorator[Message]: ...
        @overload
        def on(
            self: Emitter[Message], name: Literal["message"], handler: Callable[[Message], R]
        ) -> Callable[[Message], R]: ...
        @overload
        def on(self: Emitter[Disconnect], name: Literal["disconnect"]) -> Decorator[Disconnect]: ...
        @overload
        def on(
            self: Emitter[Disconnect], name: Literal["disconnect"], handler: Callable[[Disconnect], R]
        ) -> Callable[[Disconnect], R]: ...
        @overload
        def on(self: Emitter[Error], name: Literal["error"]) -> Decorator[Error]: ...
        @overload
        def on(self: Emitter[Error], name: Literal["error"], handler: Callable[[Error], R]) -> Callable[[Error], R]: ...
        @overload
        def on(self: Emitter[Undelivered], name: Literal["undelivered"]) -> Decorator[Undelivered]: ...
        @overload
        def on(
            self: Emitter[Undelivered], name: Literal["undelivered"], handler: Callable[[Undelivered], R]
        ) -> Callable[[Undelivered], R]: ...
        @overload
        def on(self: Emitter[Shutdown], name: Literal["shutdown"]) -> Decorator[Shutdown]: ...
        @overload
        def on(
            self: Emitter[Shutdown], name: Literal["shutdown"], handler: Callable[[Shutdown], R]
        ) -> Callable[[Shutdown], R]: ...
        @overload
        def on(self: Emitter[Spawn], name: Literal["spawn"]) -> Decorator[Spawn]: ...
        @overload
        def on(self: Emitter[Spawn], name: Literal["spawn"], handler: Callable[[Spawn], R]) -> Callable[[Spawn], R]: ...
        @overload
        def on(self: Emitter[ChildExit], name: Literal["exit"]) -> Decorator[ChildExit]: ...
        @overload
        def on(
            self: Emitter[ChildExit], name: Literal["exit"], handler: Callable[[ChildExit], R]
        ) -> Callable[[ChildExit], R]: ...
        @overload
        def on(self: Emitter[Close], name: Literal["close"]) -> Decorator[Close]: ...
        @overload
        def on(self: Emitter[Close], name: Literal["close"], handler: Callable[[Close], R]) -> Callable[[Close], R]: ...

    def on(self, name: str, handler: Any = None) -> Any:
        """Calls ``handler(event)`` for each event of that name. Without a handler, returns a decorator.

        Handlers are sync or async. A message is acknowledged when its handlers have ended, so slow async ones slow the
        sender down. If a handler raises, that is logged and emitted as ``error``; the others still run. This
        holds for every exception, also for `SystemExit`: to end the program, end its main task. What a signal raises
        in a handler, such as Ctrl-C's `KeyboardInterrupt`, still ends the program.

        Raises:
            ValueError: There is no event of that name.
            TypeError: The handler can't be called.
        """
        if handler is None:
            _checked(name)
            return partial(self._on, name)
        return self._on(name, handler)

    def _on(self, name: str, handler: Handler) -> Handler:
        self._hub.on(name, handler)
        return handler

    def off(self, name: Name, handler: Handler) -> None:
        """Removes that handler. Does nothing if it was not added.

        Raises:
            ValueError: There is no event of that name.
        """
        self._hub.off(name, handler)

    if TYPE_CHECKING:

        @overload
        async def wait_for(self: Emitter[Setup], name: Literal["setup"], *, timeout: Seconds = None) -> Setup: ...
        @overload
        async def wait_for(self: Emitter[Fork], name: Literal["fork"], *, timeout: Seconds = None) -> Fork: ...
        @overload
        async def wait_for(self: Emitter[Online], name: Literal["online"], *, timeout: Seconds = None) -> Online: ...
        @overload
        async def wait_for(
            self: Emitter[Listening], name: Literal["listening"], *, timeout: Seconds = None
        ) -> Listening: ...
        @overload
        async def wait_for(self: Emitter[Exit], name: Literal["exit"], *, timeout: Seconds = None) -> Exit: ...
        @overload
        async def wait_for(self: Emitter[GiveUp], name: Literal["give_up"], *, timeout: Seconds = None) -> GiveUp: ...
        @overload
        async def wait_for(self: Emitter[Slow], name: Literal["slow"], *, timeout: Seconds = None) -> Slow: ...
        @overload
        async def wait_for(
            self: Emitter[Backplane], name: Literal["backplane"], *, timeout: Seconds = None
        ) -> Backplane: ...
        @overload
        async def wait_for(self: Emitter[Message], name: Literal["message"], *, timeout: Seconds = None) -> Message: ...
        @overload
        async def wait_for(
            self: Emitter[Disconnect], name: Literal["disconnect"], *, timeout: Seconds = None
        ) -> Disconnect: ...
        @overload
        async def wait_for(self: Emitter[Error], name: Literal["error"], *, timeout: Seconds = None) -> Error: ...
        @overload
        async def wait_for(
            self: Emitter[Undelivered], name: Literal["undelivered"], *, timeout: Seconds = None
        ) -> Undelivered: ...
        @overload
        async def wait_for(
            self: Emitter[Shutdown], name: Literal["shutdown"], *, timeout: Seconds = None
        ) -> Shutdown: ...
        @overload
        async def wait_for(self: Emitter[Spawn], name: Literal["spawn"], *, timeout: Seconds = None) -> Spawn: ...
        @overload
        async def wait_for(
            self: Emitter[ChildExit], name: Literal["exit"], *, timeout: Seconds = None
        ) -> ChildExit: ...
        @overload
        async def wait_for(self: Emitter[Close], name: Literal["close"], *, timeout: Seconds = None) -> Close: ...

    async def wait_for(self, name: str, *, timeout: Seconds = None) -> Any:
        """Returns the next event of that name. One that happens only once and has happened is returned at once.

        Args:
            name: The event's name.
            timeout: The longest wait in seconds; None waits forever.

        Raises:
            TimeoutError: There was no such event in time.
            ValueError: There is no event of that name.
        """
        if (happened := self._happened.get(name)) is not None:
            return happened
        return await self._hub.next(name, timeout=timeout)

    if TYPE_CHECKING:

        @overload
        def events(self: Emitter[Setup], name: Literal["setup"], /) -> EventStream[Setup]: ...
        @overload
        def events(self: Emitter[Fork], name: Literal["fork"], /) -> EventStream[Fork]: ...
        @overload
        def events(self: Emitter[Online], name: Literal["online"], /) -> EventStream[Online]: ...
        @overload
        def events(self: Emitter[Listening], name: Literal["listening"], /) -> EventStream[Listening]: ...
        @overload
        def events(self: Emitter[Exit], name: Literal["exit"], /) -> EventStream[Exit]: ...
        @overload
        def events(self: Emitter[GiveUp], name: Literal["give_up"], /) -> EventStream[GiveUp]: ...
        @overload
        def events(self: Emitter[Slow], name: Literal["slow"], /) -> EventStream[Slow]: ...
        @overload
        def events(self: Emitter[Backplane], name: Literal["backplane"], /) -> EventStream[Backplane]: ...
        @overload
        def events(self: Emitter[Message], name: Literal["message"], /) -> EventStream[Message]: ...
        @overload
        def events(self: Emitter[Disconnect], name: Literal["disconnect"], /) -> EventStream[Disconnect]: ...
        @overload
        def events(self: Emitter[Error], name: Literal["error"], /) -> EventStream[Error]: ...
        @overload
        def events(self: Emitter[Undelivered], name: Literal["undelivered"], /) -> EventStream[Undelivered]: ...
        @overload
        def events(self: Emitter[Shutdown], name: Literal["shutdown"], /) -> EventStream[Shutdown]: ...
        @overload
        def events(self: Emitter[Spawn], name: Literal["spawn"], /) -> EventStream[Spawn]: ...
        @overload
        def events(self: Emitter[ChildExit], name: Literal["exit"], /) -> EventStream[ChildExit]: ...
        @overload
        def events(self: Emitter[Close], name: Literal["close"], /) -> EventStream[Close]: ...
        @overload
        def events(self: Emitter[E]) -> EventStream[E]: ...
        @overload
        def events(self: Emitter[E], first: Name, second: Name, /, *more: Name) -> EventStream[E]: ...

    def events(self, *names: str) -> EventStream[Any]:
        """Returns all later events of these names, or of any name if none is given: ``async for event in …``.

        Raises:
            ValueError: There is no event of one of these names.
        """
        for name in names:
            _checked(name)
        return EventStream[Any]._create(self._hub, names or tuple(sorted(NAMES)))


def _checked(name: str) -> str:
    if name not in NAMES:
        from .._did_you_mean import did_you_mean

        raise ValueError(f"there is no event {name!r}{did_you_mean(name, NAMES)}")
    return name
