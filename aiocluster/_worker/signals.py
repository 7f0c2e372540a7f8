"""What a worker does at signals that the application does not handle: nothing of its own, the primary decides.

SIGHUP, SIGINT and SIGTERM often reach all processes of a cluster at once. The primary reloads or stops then, and no
worker may end before it is told to, with requests in flight. So these signals have handlers here. They are no
`signal.SIG_IGN`, which the programs that a worker starts would inherit.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from .._processes.signals import FOR_ALL, OURS, unblock

if TYPE_CHECKING:
    from .session import Session


class Signals:
    """This process's handlers, beneath the application's own.

    SIGHUP and SIGINT have no effect, and SIGTERM depends:

    ================================ =================================================================================
    a worker that gets SIGTERM       does this
    ================================ =================================================================================
    followed by `OURS`               ends by it: the primary means it
    has left, in another thread      ends what the main thread does, as ``sys.exit()`` does
    is leaving                       nothing. An application that has shut down because of this signal may raise it
                                     again, with the handler of before (uvicorn does so); but the worker has more to
                                     do: what follows the server's call, ``finally`` blocks, exit functions
    runs an event loop               tells the primary, which sends one of its own if it has not been sent it, too
    runs none                        ends what the main thread does as ``sys.exit()`` does, but not within a `Hold`.
                                     This is also how the primary tells such a worker to leave
    ================================ =================================================================================

    When its target has ended, a worker that got SIGTERM ends by it after all, unless it has been told to leave.

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
        if session is None or session.is_over:
            end_by_sigterm()
        if session.has_left:
            raise SystemExit(0)
        if session.leaving is not None:
            return
        session.is_terminated = True
        if not (session.is_ending or session.tell_signalled(number) or session.hold.takes_sigterm()):
            raise SystemExit(0)

    def _on_ours(self, number: int, frame: FrameType | None) -> None:
        if self._has_sigterm and _is_ours(signal.getsignal(signal.SIGTERM)):
            end_by_sigterm()


class Hold:
    """Keeps SIGTERM from ending what the main thread does while that has to be whole.

    A send that is cut off is sent twice, and a coroutine that is cut off before its loop runs is never awaited.
    """

    def __init__(self) -> None:
        self._is_on = False
        self._has_sigterm = False

    def begin(self) -> None:
        """From now on SIGTERM waits. Idempotent."""
        self._is_on = True

    def end(self) -> None:
        """What has come meanwhile comes again, now. Idempotent."""
        self._is_on = False
        if self._has_sigterm:
            self._has_sigterm = False
            signal_the_main_thread()

    def takes_sigterm(self) -> bool:
        """Called at SIGTERM. Returns whether it waits."""
        self._has_sigterm = self._is_on
        return self._is_on


def signal_the_main_thread() -> None:
    """Sends the main thread SIGTERM. Can be called in any thread."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGTERM)


def be_deaf() -> None:
    """Has the signals in `FOR_ALL` do nothing. Programs that this process starts still hear them."""
    for number in FOR_ALL:
        signal.signal(number, _nothing)
        signal.siginterrupt(number, False)


def application_handles_sigterm() -> bool:
    """Whether the application has its own handler of SIGTERM."""
    handler = signal.getsignal(signal.SIGTERM)
    return callable(handler) and not _is_ours(handler)


def _is_ours(handler: object) -> bool:
    """Whether this is a handler of this module, as `signal.getsignal` returns it, and none of the application's."""
    return getattr(handler, "__module__", None) == __name__


def _nothing(number: int, frame: FrameType | None) -> None:
    """Does nothing."""


def end_by_sigterm() -> NoReturn:
    """Ends this process by SIGTERM. Call it in the main thread."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    raise SystemExit(1)  # blocked in this thread
