"""Which listening calls use shared ports, and which ones bind in this process alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..current import connected_worker

if TYPE_CHECKING:
    from ..worker import Worker

_exclusive: ContextVar[bool] = ContextVar("aiocluster_exclusive", default=False)


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Listening calls inside this context bind in this process alone, as outside a cluster (Node's ``exclusive``)."""
    token = _exclusive.set(True)
    try:
        yield
    finally:
        _exclusive.reset(token)


def sharing_worker(loop: asyncio.AbstractEventLoop) -> Worker | None:
    """This worker, if listening calls on this loop use shared ports.

    None inside `exclusive`, and on a loop of another thread: the primary's answers would arrive in the wrong thread.
    """
    worker = None if _exclusive.get() else connected_worker()
    return worker if worker is not None and worker.is_attached(loop) else None
