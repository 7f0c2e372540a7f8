"""Leaving: take no new connections, finish what is in flight, then shut down the application."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING

from .signals import is_ours

if TYPE_CHECKING:
    from .session import Session


_SETTLING = 0.1
"""Seconds between the last connection taken and SIGTERM. At SIGTERM, frameworks close connections without a request as
idle. This delay lets them first read the requests of new connections."""


async def leave(session: Session, timeout: float) -> None:
    """Ends this process's work within ``timeout`` seconds.

    An application that handles SIGTERM (uvicorn, aiohttp's ``run_app``) is sent SIGTERM, and shuts itself down. Any
    other application keeps running until its connections are closed and its event handlers are done; then its main task
    is cancelled, as Ctrl-C does under ``asyncio.run``. Where the loop runs in another thread than the main one, SIGTERM
    ends the process then.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler) and not is_ours(handler):
        await asyncio.sleep(min(_SETTLING, timeout))
        os.kill(os.getpid(), signal.SIGTERM)
        return
    await session.drain(timeout)
    if threading.current_thread() is not threading.main_thread():
        os.kill(os.getpid(), signal.SIGTERM)  # what the main thread does, no loop can end
    elif session.main is not None:
        session.main.cancel()
    else:
        asyncio.get_running_loop().stop()
