"""The base of all events, and `Message`, the most frequent one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import socket

    from .._primary.worker_process import WorkerProcess


class Event:
    """The base of all events. ``name`` is the name that ``on()`` takes."""

    __slots__ = ()
    name: ClassVar[str]


class MessageDraft(Event):
    """A `Message` before its ``__class__`` is set. It has the same layout but is not frozen.

    A frozen dataclass sets each field with a slow call. Messages are made more often than any other object, and making
    them this way takes a quarter of the time. `Message` adds nothing to this class, so Python need not compare their
    layouts each time.
    """

    __slots__ = ("handles", "message", "sender", "worker")
    sender: int | str
    message: Any
    handles: tuple[socket.socket, ...]
    worker: WorkerProcess | None


@dataclass(frozen=True, slots=True)
class Message(MessageDraft):
    """A message has arrived. In the primary, ``worker`` is its sender; inside a worker it is None.

    ``sender`` is a pid, and ``"host/pid"`` if it is in another cluster of the fleet.
    """

    name: ClassVar[Literal["message"]] = "message"
    sender: int | str
    message: Any
    handles: tuple[socket.socket, ...] = ()
    worker: WorkerProcess | None = None
