"""Leaving: no new connections, then what is in flight finishes, then the application's own shutdown."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session


_SETTLING = 0.1
"""Seconds between the last connection taken and SIGTERM. Frameworks close connections that have no request yet as idle;
in this time the requests of those just taken are read."""


async def leave(session: Session, timeout: float) -> None:
    """Ends this process's work within ``timeout`` seconds.

    An application that handles SIGTERM (uvicorn, aiohttp's ``run_app``) knows best how to finish: it is sent one. Any
    other one is left alone until its connections are closed and its event handlers done; then its main task is
    cancelled, which is what Ctrl-C does to ``asyncio.run``.
    """
    if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN, None):
        await asyncio.sleep(min(_SETTLING, timeout))
        signal.raise_signal(signal.SIGTERM)
        return
    await session.drain(timeout)
    if session.main is not None:
        session.main.cancel()
    else:
        asyncio.get_running_loop().stop()
