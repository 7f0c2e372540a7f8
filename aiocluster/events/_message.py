"""The event that comes most often, and what all events are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import socket

    from .._primary.worker_process import WorkerProcess


class Event:
    """Base of all events; ``name`` is what ``on()`` takes."""

    __slots__ = ()
    name: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Message(Event):
    """A message has arrived. ``worker`` is its sender as the primary sees it; None inside a worker."""

    name: ClassVar[Literal["message"]] = "message"
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
