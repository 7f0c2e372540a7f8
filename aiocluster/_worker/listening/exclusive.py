"""Which listening calls use shared ports, and which ones bind in this process alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..current import connected_session

if TYPE_CHECKING:
    from ..session import Session

logger = logging.getLogger("aiocluster.ports")

_exclusive: ContextVar[bool] = ContextVar("aiocluster_exclusive", default=False)


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Listening calls inside this context bind in this process alone, as outside a cluster (Node's ``exclusive``)."""
    token = _exclusive.set(True)
    try:
        yield
    finally:
        _exclusive.reset(token)


def sharing_session(loop: asyncio.AbstractEventLoop) -> Session | None:
    """This worker's session, if listening calls on this loop use shared ports; None inside `exclusive`.

    The loop of the main thread hears the primary. Where none runs there, the first loop of another thread that listens
    does: a server may run in a thread beside a main thread without a loop. Any other loop shares nothing, because the
    primary's answers would arrive in the wrong thread.
    """
    session = None if _exclusive.get() else connected_session()
    if session is None or session.is_attached(loop) or session.attach(loop):
        return session
    logger.warning(
        "a server in the thread %r binds in this process alone: another thread's event loop hears the primary; "
        "start the server on that loop, or bind with exclusive()",
        threading.current_thread().name,
    )
    return None
