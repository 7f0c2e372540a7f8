"""What happens to a child process that is no worker."""

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
    """A child process has ended: by ``code``, or by ``signal`` (the other one is None).

    Both are None if something else in this program has waited for it, so that nobody can know any more.
    """

    name: ClassVar[Literal["exit"]] = "exit"
    child: ChildProcess
    code: int | None
    signal: signal.Signals | None


@dataclass(frozen=True, slots=True)
class Close(Event):
    """A child process has ended, and its stdout and stderr have ended here as well: no more output will come."""

    name: ClassVar[Literal["close"]] = "close"
    child: ChildProcess
    code: int | None
    signal: signal.Signals | None
