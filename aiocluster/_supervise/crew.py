"""Starting workers and seeing them off, each within its deadline."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable
from typing import Any

import anyio

from .._primary.primary import Primary
from .._primary.worker_process import WorkerProcess, startup_text
from ..errors import StartupError, TargetError

logger = logging.getLogger("aiocluster.cluster")

_TERM_TIMEOUT = 2.0  # seconds between SIGTERM and SIGKILL, after graceful_timeout has been used up
_OWN_END = 1.0  # seconds a worker has to end by itself once it has used up graceful_timeout, before SIGTERM
_ABORT_TIMEOUT = 0.5  # seconds between SIGABRT and SIGKILL

CANNOT_START = (StartupError, TargetError, OSError)
"""What `Crew.start` raises: a file that was there when the cluster started may be gone by now."""


class Crew:
    """What a cluster does with one worker at a time.

    Args:
        primary: Does it.
        start_timeout: Seconds a worker may take to come up.
        graceful_timeout: Seconds a worker that leaves may take.
    """

    def __init__(self, primary: Primary, start_timeout: float, graceful_timeout: float) -> None:
        self._primary = primary
        self._start_timeout = start_timeout
        self._graceful_timeout = graceful_timeout
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *, instead_of: WorkerProcess | None = None, **how: Any) -> WorkerProcess:
        """Starts a worker, and returns it when it is online.

        Args:
            instead_of: A worker that the new one is to take the place of: then it must listen on as many ports, too.
            **how: See `Primary.fork`.

        Raises:
            StartupError: It ended before, or took too long; it is gone then.
            TargetError: The target has gone.
            OSError: It could not be started.
        """
        worker = await self._primary._fork(**how)
        try:
            if not await self._happens_in_time(worker, worker.wait_for("online")):
                raise await self._failed(worker, "online")
            ports = len(instead_of.backend.ports) if instead_of is not None else 0
            if not await self._happens_in_time(worker, worker.wait_listening(ports)):
                raise await self._failed(worker, "listening where its predecessor listens")
        except BaseException:
            worker.kill(signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await worker.wait_gone()
            raise
        return worker

    async def _happens_in_time(self, worker: WorkerProcess, event: Awaitable[Any]) -> bool:
        """Waits for one of three: what is hoped for (True), the worker's failure, or ``start_timeout``."""
        happens = asyncio.ensure_future(event)
        unfit = asyncio.ensure_future(worker.wait_unfit())
        try:
            await asyncio.wait({happens, unfit}, timeout=self._start_timeout, return_when=asyncio.FIRST_COMPLETED)
            return happens.done()
        finally:
            happens.cancel()
            unfit.cancel()

    async def _failed(self, worker: WorkerProcess, what: str) -> StartupError:
        if worker.is_unfit:
            await worker.wait()
            return StartupError(startup_text(worker, what))
        worker.kill(signal.SIGKILL)
        await worker.wait()
        return StartupError(
            f"worker {worker.id} (pid {worker.pid}) was not {what} within {self._start_timeout:g} seconds "
            f"(start_timeout)\n\n{worker.early_stderr.strip()}"
        )

    async def see_off(self, worker: WorkerProcess) -> None:
        """Tells a worker to leave, and returns when it is gone: by itself, by SIGTERM, or by SIGKILL."""
        worker.tell_to_leave(self._graceful_timeout)
        await self._outlast(worker)

    async def _outlast(self, worker: WorkerProcess) -> None:
        for number, seconds in ((signal.SIGTERM, self._graceful_timeout + _OWN_END), (signal.SIGKILL, _TERM_TIMEOUT)):
            try:
                async with asyncio.timeout(seconds):
                    await worker.wait_gone()
                return
            except TimeoutError:
                logger.warning("%r has not left in time: %s", worker, number.name)
                worker.kill(number)
        await worker.wait_gone()

    async def abort(self, worker: WorkerProcess) -> None:
        """Ends a worker whose event loop is blocked: SIGABRT makes faulthandler write its stacks, SIGKILL ends it."""
        worker.kill(signal.SIGABRT)
        try:
            async with asyncio.timeout(_ABORT_TIMEOUT):
                await worker.wait()
        except TimeoutError:
            worker.kill(signal.SIGKILL)

    def retire(self, worker: WorkerProcess) -> None:
        """Sees off, in the background, a worker that has failed: it may still finish what it has."""
        self.in_background(self._outlast(worker))

    def in_background(self, work: Awaitable[None]) -> None:
        """Does this until it is done; `finish` waits for it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Returns when nobody is being seen off any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)
