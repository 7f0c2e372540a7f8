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
    """``setup()`` was called. Later forks use these settings."""

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


Reason = Literal["told", "own", "returned", "failed", "killed", "late", "hung", "limit"]
"""Why a worker ended:

* ``told``: it was told to leave (a stop, a scale, a reload, `WorkerProcess.disconnect`), or ended by a stop at once;
* ``own``: it chose to leave (`Worker.disconnect`);
* ``returned``: its target returned, or it exited with code 0;
* ``failed``: it raised an exception, exited with another code, could not start, or broke the protocol;
* ``killed``: a signal ended it that the cluster did not send;
* ``late``: it outlasted ``graceful_timeout`` or ``start_timeout``;
* ``hung``: its event loop was blocked for ``hang_timeout``;
* ``limit``: it was replaced because of ``max_memory``, ``max_lifetime`` or ``max_connections``.
"""


@dataclass(frozen=True, slots=True)
class Exit(Event):
    """A worker's process has ended, with exit status ``code`` or by ``signal``; the other one is None.

    ``reason`` says why; see `Reason`.
    """

    name: ClassVar[Literal["exit"]] = "exit"
    worker: WorkerProcess
    code: int | None
    signal: signal.Signals | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Slow(Event):
    """A worker's event loop is blocked (the setting ``slow_loop``). It is told once for each time.

    Attributes:
        worker: The worker.
        seconds: How long it has been blocked so far.
        where: Where its thread is, in the application's own code if it is there: ``"shop/web.py:88 in quote"``.
    """

    name: ClassVar[Literal["slow"]] = "slow"
    worker: WorkerProcess
    seconds: float
    where: str


@dataclass(frozen=True, slots=True)
class GiveUp(Event):
    """More workers ended unexpectedly than the `RestartPolicy` allows. No more are replaced."""

    name: ClassVar[Literal["give_up"]] = "give_up"
    exits: tuple[Exit, ...]
    period: float
