"""Which listening calls use shared ports, and which ones bind in this process alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..current import connected_session

if TYPE_CHECKING:
    from ..session import Session

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
    """This worker's session, if listening calls on this loop use shared ports.

    None inside `exclusive`, and on a loop of another thread: the primary's answers would arrive in the wrong thread.
    """
    session = None if _exclusive.get() else connected_session()
    return session if session is not None and session.is_attached(loop) else None
