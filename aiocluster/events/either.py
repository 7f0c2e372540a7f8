"""What happens in the primary and in its workers alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import socket

    from ..primary.process import WorkerProcess


class Event:
    """Base of all events; ``name`` is what ``on()`` takes."""

    __slots__ = ()
    name: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Message(Event):
    """A message has arrived. ``worker`` is its sender as the primary sees it; None inside a worker."""

    name: ClassVar[str] = "message"
    sender: int
    message: Any
    handles: tuple[socket.socket, ...] = ()
    worker: WorkerProcess | None = None


class MessageDraft(Event):
    """A `Message` in the making. A frozen dataclass sets each field by a slow call; its draft, which has the same
    layout and takes its class in the end, does not: a third of the time, for what is made most often."""

    __slots__ = ("handles", "message", "sender", "worker")
    sender: int
    message: Any
    handles: tuple[socket.socket, ...]
    worker: WorkerProcess | None


@dataclass(frozen=True, slots=True)
class Disconnect(Event):
    """The channel is closed. ``worker`` is None inside a worker, whose primary is gone then."""

    name: ClassVar[str] = "disconnect"
    worker: WorkerProcess | None = None


@dataclass(frozen=True, slots=True)
class Error(Event):
    """Something failed: in a worker (``worker``), or in an event handler of this process (None)."""

    name: ClassVar[str] = "error"
    worker: WorkerProcess | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class Undelivered(Event):
    """A message whose receiver went before it confirmed it, back at its sender."""

    name: ClassVar[str] = "undelivered"
    pid: int
    message: Any


@dataclass(frozen=True, slots=True)
class Shutdown(Event):
    """This worker has been told to leave and has ``deadline`` seconds to do so."""

    name: ClassVar[str] = "shutdown"
    deadline: float
