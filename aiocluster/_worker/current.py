"""Which process this is. This is the worker's only module-level state."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session
    from .worker import Worker

_current: Session | None = None


def adopt(session: Session) -> None:
    """Makes this process a worker. Processes that it forks are not workers."""
    global _current
    _current = session
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    global _current
    session, _current = _current, None
    if session is not None:
        from .._wire import main_guard  # a worker has imported it; asking which process this is need not

        main_guard.forget()
        session.abandon()


def is_worker() -> bool:
    """Whether this process is a worker of a cluster. A worker's own child processes are not."""
    return _current is not None


def is_primary() -> bool:
    """Whether this process is not a worker, so that it may start a cluster."""
    return _current is None


def current_worker() -> Worker:
    """Returns the `Worker` of this process.

    Raises:
        RuntimeError: This process is not a worker.
    """
    if _current is None:
        raise RuntimeError(
            "this process is not a worker of a cluster: current_worker() works only in code that a Cluster or Primary "
            "runs as its target; ask is_worker() first"
        )
    return _current.worker


def current_session() -> Session:
    """Returns the worker session of this process.

    Raises:
        RuntimeError: This process is not a worker.
    """
    return current_worker()._session


def own_session() -> Session | None:
    """Returns this process's session if it is a worker, even if it has told the primary all it has to; else None."""
    return _current


def connected_session() -> Session | None:
    """Returns this process's session if it is a worker connected to its primary; else None."""
    return _current if _current is not None and not _current.channel.is_closed else None
