"""Which process is this: the one piece of module-level state there is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .worker import Worker

_current: Worker | None = None


def adopt(worker: Worker) -> None:
    """This process is that worker from now on; a process that it forks is not."""
    global _current
    _current = worker
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    global _current
    worker, _current = _current, None
    if worker is not None:
        worker.channel.abandon()


def is_worker() -> bool:
    """Whether this process is a worker of a cluster. A worker's own child processes are not."""
    return _current is not None


def is_primary() -> bool:
    """Whether this process is no worker, so that it may start a cluster."""
    return _current is None


def current_worker() -> Worker:
    """This process as a worker.

    Raises:
        RuntimeError: It is none.
    """
    if _current is None:
        raise RuntimeError(
            "this process is no worker of a cluster: current_worker() works only in code that a Cluster or Primary "
            "runs as its target; ask is_worker() first"
        )
    return _current


def connected_worker() -> Worker | None:
    """This process as a worker whose primary is there; else None."""
    return _current if _current is not None and not _current.channel.is_closed else None
