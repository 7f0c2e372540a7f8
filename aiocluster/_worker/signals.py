"""What a worker does at signals that the application does not handle: nothing of its own, the primary decides.

SIGHUP, SIGINT and SIGTERM often reach all processes of a cluster at once. The primary reloads or stops then, and no
worker may end before it is told to, with requests in flight. So these signals have handlers here. They are no
`signal.SIG_IGN`, which the programs that a worker starts would inherit.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from .._processes.signals import FOR_ALL, OURS, unblock

if TYPE_CHECKING:
    from .session import Session


class Signals:
    """This process's handlers.

    SIGHUP and SIGINT have no effect. SIGTERM has its default effect if the primary has sent it (`OURS` follows), or if
    no event loop runs, which could ask the primary. Else the primary is told, and sends one of its own if it has not
    been sent the same signal.

    Attributes:
        session: This process as a worker; None until it is one.
    """

    def __init__(self) -> None:
        self.session: Session | None = None
        self._has_sigterm = False

    def install(self) -> None:
        """Sets the handlers, and lets through what has come before."""
        be_deaf()
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(OURS, self._on_ours)
        unblock()

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self._has_sigterm = True
        session = self.session
        if session is not None and session.has_left:
            raise SystemExit(0)
        if session is None or not (session.is_leaving or session.tell_signalled(number)):
            _end()

    def _on_ours(self, number: int, frame: FrameType | None) -> None:
        if self._has_sigterm and is_ours(signal.getsignal(signal.SIGTERM)):
            _end()


def be_deaf() -> None:
    """Has the signals in `FOR_ALL` do nothing. Programs that this process starts still hear them."""
    for number in FOR_ALL:
        signal.signal(number, _nothing)
        signal.siginterrupt(number, False)


def is_ours(handler: object) -> bool:
    """Whether this is a handler of this module, as `signal.getsignal` returns it, and none of the application's."""
    return getattr(handler, "__module__", None) == __name__


def _nothing(number: int, frame: FrameType | None) -> None:
    """Does nothing."""


def _end() -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    raise SystemExit(1)  # blocked in this thread
