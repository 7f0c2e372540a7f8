"""What happens in the primary and in its workers alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ._message import Event

if TYPE_CHECKING:
    from .._primary.worker_process import WorkerProcess


@dataclass(frozen=True, slots=True)
class Disconnect(Event):
    """The channel is closed. ``worker`` is None inside a worker, whose primary is gone then."""

    name: ClassVar[Literal["disconnect"]] = "disconnect"
    worker: WorkerProcess | None = None


@dataclass(frozen=True, slots=True)
class Error(Event):
    """Something failed: in a worker (``worker``), or in an event handler of this process (None)."""

    name: ClassVar[Literal["error"]] = "error"
    worker: WorkerProcess | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class Undelivered(Event):
    """A message whose receiver went before it confirmed it, back at its sender."""

    name: ClassVar[Literal["undelivered"]] = "undelivered"
    pid: int
    message: Any


@dataclass(frozen=True, slots=True)
class Shutdown(Event):
    """This worker has been told to leave and has ``deadline`` seconds to do so."""

    name: ClassVar[Literal["shutdown"]] = "shutdown"
    deadline: float
