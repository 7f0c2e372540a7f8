"""Leaving: take no new connections, finish what is in flight, then shut down the application."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING

from .signals import is_ours

if TYPE_CHECKING:
    from .session import Session


_SETTLING = 0.1
"""Seconds between the last connection taken and SIGTERM. At SIGTERM, frameworks close connections without a request as
idle. This delay lets them first read the requests of new connections."""
_SILENCE = 1.0
"""Seconds that SIGTERM waits, at most, for clients that have connected and have not sent anything yet. Most send at
once, but a busy machine may take its time over it. One that only connects can't hold up the worker for longer."""


async def leave(session: Session, timeout: float) -> None:
    """Ends this process's work within ``timeout`` seconds.

    An application that handles SIGTERM (uvicorn, aiohttp's ``run_app``) is sent SIGTERM, and shuts itself down. Any
    other application keeps running until its connections are closed and its event handlers are done; then its main task
    is cancelled, as Ctrl-C does under ``asyncio.run``. Where the loop runs in another thread than the main one, that
    one ends, too, with SystemExit.
    """
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler) and not is_ours(handler):
        await _settle(session, timeout)
        if not session.is_interrupted:  # else it shuts down already, and a second signal would cut that off
            signal.pthread_kill(main_thread, signal.SIGTERM)
        return
    await session.drain(timeout)
    if threading.get_ident() != main_thread:
        session.has_left = True
        signal.pthread_kill(main_thread, signal.SIGTERM)  # what the main thread does, no loop can end
    main = session.main
    if main is not None:
        main.cancel()
    else:
        asyncio.get_running_loop().stop()


async def _settle(session: Session, timeout: float) -> None:
    """Waits until the requests of new connections have most likely been read."""
    loop = asyncio.get_running_loop()
    until = loop.time() + min(_SILENCE, timeout)
    await asyncio.sleep(min(_SETTLING, timeout))
    while session.ports.has_silent_client() and loop.time() < until:
        await asyncio.sleep(min(_SETTLING, timeout))
