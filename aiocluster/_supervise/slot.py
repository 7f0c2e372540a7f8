"""One place in a cluster, and the task that keeps it filled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from .._primary.worker_process import WorkerProcess
from .crew import CANNOT_START, Crew

logger = logging.getLogger("aiocluster.cluster")


class Slot:
    """One place: a worker's, or an agent's.

    Args:
        crew: Starts workers and sees them off.
        wait_before_restart: Asked with the slot and the worker that has ended unasked: the seconds to wait before its
            replacement is started; None: there will be none.
        **how: What `Primary.fork` is to be told of a worker for this place.
    """

    def __init__(
        self, crew: Crew, wait_before_restart: Callable[[Slot, WorkerProcess], float | None], **how: Any
    ) -> None:
        self.worker: WorkerProcess | None = None
        self._crew = crew
        self._wait_before_restart = wait_before_restart
        self._how = how
        self._is_owed = False  # a renewal has ended the old one, and failed
        self._keeper: asyncio.Task[None] | None = None
        self._filling = asyncio.Lock()  # its keeper and `renew` don't both fill it

    @property
    def number(self) -> int | None:
        """Its place among the workers; None for an agent's."""
        number: int | None = self._how.get("slot")
        return number

    @property
    def is_kept(self) -> bool:
        """Whether its worker will be replaced if it ends unasked."""
        return self._keeper is not None and not self._keeper.done()

    async def open(self, when_over: Callable[[], None]) -> None:
        """Fills it, and keeps it filled.

        Args:
            when_over: Called when it is not kept filled any more.

        Raises:
            StartupError: The worker did not come up.
            OSError: It could not be started.
        """
        self.worker = await self._crew.start(**self._how)
        self._keep(when_over)

    def _keep(self, when_over: Callable[[], None]) -> None:
        self._keeper = asyncio.get_running_loop().create_task(self._replace_whenever_needed())
        self._keeper.add_done_callback(lambda task: when_over())

    async def renew(self, when_over: Callable[[], None]) -> None:
        """Fills it with a new worker; only when that is up is the old one told to leave. Returns when that is gone.

        Raises:
            StartupError: The new one did not come up; the old one stays.
            OSError: The new one could not be started; likewise.
        """
        async with self._filling:
            old = self.worker
            self.worker = await self._crew.start(instead_of=old, **self._how)
        if not self.is_kept:
            self._keep(when_over)
        if old is not None:
            await self._crew.see_off(old)

    async def close(self) -> None:
        """Keeps it filled no more, tells its worker to leave, and returns when that is gone."""
        self.abandon()
        if self.worker is not None:
            await self._crew.see_off(self.worker)

    def abandon(self) -> None:
        """Keeps it filled no more."""
        if self._keeper is not None:
            self._keeper.cancel()

    async def _replace_whenever_needed(self) -> None:
        while (worker := self.worker) is not None:
            await worker.wait_unfit()
            if worker.is_leaving:
                async with self._filling:  # perhaps for a renewal, which is not over yet
                    pass
            if worker is not self.worker:
                continue  # it has been renewed
            if worker.is_leaving and not self._is_owed:
                self.worker = None
                return
            self._crew.retire(worker)
            wait = self._wait_before_restart(self, worker)
            if wait is None:
                return
            await self._vacated(worker)
            await asyncio.sleep(wait)
            async with self._filling:
                if worker is self.worker:
                    try:
                        self.worker = await self._crew.start(**self._how)
                        self._is_owed = False
                    except CANNOT_START as error:
                        logger.error("%s", error)

    async def _vacated(self, worker: WorkerProcess) -> None:
        """Returns when the next one may start beside this one, which has failed: at once."""


class AgentSlot(Slot):
    """An agent's place. There is never more than one process in it: what is to be done once is not done twice."""

    async def renew(self, when_over: Callable[[], None]) -> None:
        """Tells the old one to leave; when that is gone, fills it with a new one.

        Raises:
            StartupError: The new one did not come up. It is tried again like one that has ended unasked.
            OSError: The new one could not be started; likewise.
        """
        async with self._filling:
            if self.worker is not None:
                self._is_owed = True
                await self._crew.see_off(self.worker)
            self.worker = await self._crew.start(**self._how)
            self._is_owed = False
        if not self.is_kept:
            self._keep(when_over)

    async def _vacated(self, worker: WorkerProcess) -> None:
        await worker.wait_gone()
