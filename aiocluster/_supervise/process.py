"""`Process`: one process of a cluster, as the reconciler keeps it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from .._primary.worker_process import WorkerProcess
from .plan import Seen


@dataclass(slots=True, eq=False, kw_only=True)
class Process(Seen):
    """The observed state of a process, and the objects that its actions need.

    Attributes:
        worker: The worker; None until it has been forked.
        fork: The task that forks the worker.
        fork_error: Why the fork failed.
        is_first: Whether it is the first one in its slot since the cluster was entered.
        token: The fencing token of the lease that it runs under; None: it needs none.
        chance: Its share of chance in the limits, from 0 to 1, see `HealthCheck`; None before the first sample.
    """

    worker: WorkerProcess | None = None
    fork: asyncio.Task[None] | None = None
    fork_error: Exception | None = None
    is_first: bool = False
    chance: float | None = None
    token: int | None = None
