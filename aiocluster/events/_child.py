"""The events of a child process that is not a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ._message import Event

if TYPE_CHECKING:
    import signal

    from ..child_process._child import ChildProcess


@dataclass(frozen=True, slots=True)
class Spawn(Event):
    """A child process has been started (`aiocluster.child_process`)."""

    name: ClassVar[Literal["spawn"]] = "spawn"
    child: ChildProcess


@dataclass(frozen=True, slots=True)
class ChildExit(Event):
    """A child process has ended, with exit status ``code`` or by ``signal``; the other one is None.

    Both are None if other code in this program has waited for the process, so that its exit status is lost.
    """

    name: ClassVar[Literal["exit"]] = "exit"
    child: ChildProcess
    code: int | None
    signal: signal.Signals | None


@dataclass(frozen=True, slots=True)
class Close(Event):
    """A child process has ended, and its stdout and stderr are closed: there is no more output."""

    name: ClassVar[Literal["close"]] = "close"
    child: ChildProcess
    code: int | None
    signal: signal.Signals | None
