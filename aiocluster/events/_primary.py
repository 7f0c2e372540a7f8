"""The events that only the primary has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ._message import Event

if TYPE_CHECKING:
    import signal

    from .._primary.worker_process import WorkerProcess
    from ..address import Address
    from ..settings import Settings


@dataclass(frozen=True, slots=True)
class Setup(Event):
    """``Primary.setup()`` was called. Later forks use these settings."""

    name: ClassVar[Literal["setup"]] = "setup"
    settings: Settings


@dataclass(frozen=True, slots=True)
class Fork(Event):
    """A worker's process has been started."""

    name: ClassVar[Literal["fork"]] = "fork"
    worker: WorkerProcess


@dataclass(frozen=True, slots=True)
class Online(Event):
    """A worker has loaded its target and is about to run it."""

    name: ClassVar[Literal["online"]] = "online"
    worker: WorkerProcess


@dataclass(frozen=True, slots=True)
class Listening(Event):
    """A worker's server now takes connections."""

    name: ClassVar[Literal["listening"]] = "listening"
    worker: WorkerProcess
    address: Address


@dataclass(frozen=True, slots=True)
class Exit(Event):
    """A worker's process has ended, with exit status ``code`` or by ``signal``; the other one is None."""

    name: ClassVar[Literal["exit"]] = "exit"
    worker: WorkerProcess
    code: int | None
    signal: signal.Signals | None


@dataclass(frozen=True, slots=True)
class GiveUp(Event):
    """More workers ended unexpectedly than the `RestartPolicy` allows. No more are replaced."""

    name: ClassVar[Literal["give_up"]] = "give_up"
    exits: tuple[Exit, ...]
    period: float
