"""Leaving: take no new connections, finish what is in flight, then shut down the application."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

from .signals import application_handles_sigterm, signal_the_main_thread

if TYPE_CHECKING:
    from .session import Session


_SETTLING = 0.1
"""Seconds between the last connection taken and SIGTERM. At SIGTERM, frameworks close connections without a request as
idle. This delay lets them first read the requests of new connections."""
_SILENCE = 1.0
"""Seconds that SIGTERM waits, at most, for clients that have connected and have not sent anything yet. Most send at
once, but a busy machine may take its time over it. One that only connects can't hold up the worker for longer."""

_LAST = 0.5
"""Seconds that an application has for its own shutdown if what is in flight has taken all the time."""


class Leave:
    """A worker's way out. It goes on from one event loop to the next if the application runs several.

    An application that handles SIGTERM (uvicorn, aiohttp's ``run_app``) is sent SIGTERM once the requests and calls
    that it serves and its event handlers are done; its connections it finishes itself. Any other application keeps
    running until its connections are closed, too; then its main task is cancelled, as Ctrl-C does under
    ``asyncio.run``. Where the loop runs in another thread than the main one, that one ends, too, with SystemExit. When
    the time is over, the main task is cancelled in any case.

    Args:
        session: The worker.
        seconds: How long it may take.
    """

    def __init__(self, session: Session, seconds: float) -> None:
        self._session = session
        self._until = time.monotonic() + seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._has_told = False  # the application, once: from then on its shutdown is its own affair

    @property
    def seconds_left(self) -> float:
        """Seconds until its main task is ended; 0 when they are over."""
        return max(0.0, self._until - time.monotonic())

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Goes on, on this loop, which runs or is about to."""
        self._timer = loop.call_later(self.seconds_left, self._time_is_over)
        if self._loop is not loop or self._work is None or self._work.done():
            self._work = None if self._has_told else loop.create_task(self._finish_work())
        self._loop = loop

    def pause(self) -> None:
        """The loop has stopped; there may be another one."""
        if self._timer is not None:
            self._timer.cancel()

    def set(self, seconds: float) -> None:
        """It has so many seconds from now on."""
        self._until = time.monotonic() + seconds
        if self._timer is not None and not self._timer.cancelled():
            assert self._loop is not None
            self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._time_is_over)

    async def _finish_work(self) -> None:
        if application_handles_sigterm():
            await asyncio.gather(_settle(self._session), self._session.drain_work())
        else:
            await self._session.drain()
        self._tell()

    def _tell(self) -> None:
        """Has the application shut down."""
        self._has_told = True
        if not application_handles_sigterm():
            self._end_main()
        elif not self._session.is_interrupted:  # else it shuts down already, and a second signal would cut that off
            signal_the_main_thread()

    def _time_is_over(self) -> None:
        self._session.ports.stop_draining()
        if self._work is not None:
            self._work.cancel()
        if self._has_told or not application_handles_sigterm():
            self._end_main()
        else:
            assert self._loop is not None
            self._timer = self._loop.call_later(_LAST, self._end_main)
            self._tell()

    def _end_main(self) -> None:
        self._has_told = True
        session = self._session
        if threading.current_thread() is not threading.main_thread():
            session.has_left = True
            signal_the_main_thread()  # what the main thread does, no loop can end
        if session.main is not None:
            session.main.cancel()
        elif self._loop is not None:
            self._loop.stop()


async def _settle(session: Session) -> None:
    """Waits until the requests of new connections have most likely been read."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _SILENCE
    await asyncio.sleep(_SETTLING)
    while session.ports.has_silent_client() and loop.time() < until:
        await asyncio.sleep(_SETTLING)
