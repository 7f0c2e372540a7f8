"""SIGTERM in a worker: the handler beneath the application's own.

An application that has its own handler puts this one back when it has shut down, and some then raise the signal again
(uvicorn does), so that a process that was to end by it does so. But a worker that has been told to leave has more to
do: what follows the server's call, ``finally`` blocks, exit functions. So here that second signal does nothing.

================================ =====================================================================================
a worker that gets SIGTERM       does this
================================ =====================================================================================
is leaving, and has time left    nothing: it is under way
is leaving, and has none         ends by the signal
runs an event loop               waits a moment for the primary's word, as the signal may have been sent to the whole
                                 process group. If it is not told to leave, or if its loop is blocked, it ends by the
                                 signal
runs no event loop               ends the main thread's work as ``sys.exit()`` does
is another process, forked by    ends by the signal
the worker without ``exec``
================================ =====================================================================================

When its target has ended, a worker that got SIGTERM ends by it after all, unless the primary has told it to leave.
"""

from __future__ import annotations

import _thread
import asyncio
import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from .session import Session

_FOR_THE_PRIMARY = 0.1  # seconds to wait for the primary's word
_BLOCKED = 0.5  # seconds after which a loop that does not run this module's callback counts as blocked


class Handler:
    """What a worker does at SIGTERM, unless the application has its own handler.

    Args:
        session: The worker.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, number: int, frame: FrameType | None) -> None:
        session = self._session
        if session.pid != os.getpid() or session.is_over:
            end_by_it()
        if session.leaving is not None and session.leaving.seconds_left > 0:
            return
        session.is_terminated = True
        if session.loop is None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
            raise SystemExit(0)
        if session.leaving is not None:
            end_by_it()
        self._wait_for_the_primary(session.loop)

    def _wait_for_the_primary(self, loop: asyncio.AbstractEventLoop) -> None:
        """This may have interrupted anything, so it only asks the loop for a callback, and takes no lock."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        heard = threading.Event()

        def hear() -> None:
            heard.set()
            loop.call_later(_FOR_THE_PRIMARY, self._decide)

        def watch() -> None:
            if not heard.wait(_BLOCKED):
                os.kill(os.getpid(), signal.SIGTERM)

        loop.call_soon_threadsafe(hear)
        _thread.start_new_thread(watch, ())

    def _decide(self) -> None:
        if self._session.leaving is None:
            end_by_it()
        self._session.is_terminated = False
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # else the application has its own by now
            signal.signal(signal.SIGTERM, self)


def application_handles() -> bool:
    """Whether the application has its own handler of SIGTERM."""
    handler = signal.getsignal(signal.SIGTERM)
    return not (handler in (signal.SIG_DFL, signal.SIG_IGN, None) or isinstance(handler, Handler))


def end_by_it() -> NoReturn:
    """Ends this process by SIGTERM. Call it in the main thread."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    raise AssertionError("SIGTERM is blocked")
