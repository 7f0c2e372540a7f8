"""The events that the primary and its workers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ._message import Event

if TYPE_CHECKING:
    from .._primary.worker_process import WorkerProcess
    from ..errors import BackplaneError


@dataclass(frozen=True, slots=True)
class Disconnect(Event):
    """The channel is closed. Inside a worker, ``worker`` is None and the primary is gone."""

    name: ClassVar[Literal["disconnect"]] = "disconnect"
    worker: WorkerProcess | None = None


@dataclass(frozen=True, slots=True)
class Error(Event):
    """Something failed in ``worker``, or in an event handler of this process if ``worker`` is None."""

    name: ClassVar[Literal["error"]] = "error"
    worker: WorkerProcess | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class Undelivered(Event):
    """A message is returned to its sender: its receiver disconnected before it acknowledged it.

    ``pid`` is the receiver's, and ``"host/pid"`` in another cluster of the fleet.
    """

    name: ClassVar[Literal["undelivered"]] = "undelivered"
    pid: int | str
    message: Any


@dataclass(frozen=True, slots=True)
class Backplane(Event):
    """The cluster has reached the Redis of its fleet, or has lost touch with it; then ``error`` says why."""

    name: ClassVar[Literal["backplane"]] = "backplane"
    connected: bool
    error: BackplaneError | None = None


@dataclass(frozen=True, slots=True)
class Shutdown(Event):
    """This worker has been told to leave and has ``deadline`` seconds to do so."""

    name: ClassVar[Literal["shutdown"]] = "shutdown"
    deadline: float
