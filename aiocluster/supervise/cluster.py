"""`Cluster`: keeps n workers alive. It decides; what it decides `Primary` does."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import anyio

from ..errors import RestartLimitError, StartupError, WorkerNotFoundError
from ..events import Emitter, Exit, GiveUp
from ..primary.primary import Primary
from ..primary.process import WorkerProcess, startup_text
from ..wire.conversation import RequestHandler
from .cpus import available_cpus
from .restart import RestartHistory, RestartPolicy

logger = logging.getLogger("aiocluster.cluster")

_TERM_TIMEOUT = 2.0  # seconds between SIGTERM and SIGKILL, after graceful_timeout has been used up


class _Slot:
    """One of the n places: the worker that fills it, and the task that keeps it filled."""

    def __init__(self, number: int, weight: int) -> None:
        self.number = number
        self.weight = weight
        self.worker: WorkerProcess | None = None
        self.keeper: asyncio.Task[None] | None = None


class Cluster(Emitter):
    """Keeps ``workers`` workers running that share their ports.

    ``async with`` returns when every first worker is online, and stops them gracefully when it is left. Handlers may be
    added before it is entered.

    Args:
        target: What workers run; see `Primary`.
        workers: How many; ``"auto"``: as many as this process may use CPUs, by affinity and control group.
        weights: One per worker, for weighted scheduling.
        restart: When workers that end unasked are replaced.
        start_timeout: Seconds a worker may take to come online.
        graceful_timeout: Seconds a worker that is told to leave may take; then SIGTERM, 2 s later SIGKILL.
        **settings: How workers are started; see `Settings`.

    Raises:
        TargetError: No worker could find the target.
        ValueError: An argument is out of its range; the text names it.
        TypeError: An argument is of the wrong type, or there is none of that name.
    """

    def __init__(
        self,
        target: Any = None,
        *,
        workers: int | str = "auto",
        weights: Sequence[int] | None = None,
        restart: RestartPolicy | None = None,
        start_timeout: float = 30.0,
        graceful_timeout: float = 30.0,
        **settings: Any,
    ) -> None:
        count = available_cpus() if workers == "auto" else workers
        if not isinstance(count, int) or isinstance(count, bool):
            raise TypeError(f'workers must be a number or "auto", not {workers!r}')
        if count < 1:
            raise ValueError(f'workers must be a number from 1 on, or "auto", not {workers!r}')
        for name, seconds in (("start_timeout", start_timeout), ("graceful_timeout", graceful_timeout)):
            if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
                raise TypeError(f"{name} must be a number of seconds, not {seconds!r}")
            if not seconds >= 0:
                raise ValueError(f"{name} must be a number of seconds from 0 on, not {seconds!r}")
        if weights is not None and (len(weights) != count or min(weights) < 1):
            raise ValueError(f"weights must be {count} numbers from 1 on, one per worker, not {weights!r}")
        self._restart = restart or RestartPolicy()
        self._start_timeout = start_timeout
        self._graceful_timeout = graceful_timeout
        self._primary = Primary(target, **settings)
        self._hub = self._primary._hub
        self._slots = [_Slot(number, weights[number] if weights else 1) for number in range(count)]
        self._history = RestartHistory(self._restart)
        self._exits: list[tuple[float, Exit]] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._given_up: RestartLimitError | None = None
        self._over = asyncio.Event()  # given up, stopped, or nobody left

    async def __aenter__(self) -> Self:
        await self._primary.__aenter__()
        try:
            async with asyncio.TaskGroup() as starts:
                for slot in self._slots:
                    starts.create_task(self._fill(slot))
        except BaseException as error:
            self._is_stopping = True
            with anyio.CancelScope(shield=True):
                await self._primary.__aexit__(None, None, None)
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        for slot in self._slots:
            slot.keeper = asyncio.get_running_loop().create_task(self._keep(slot))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self.stop()
            finally:
                await self._primary.__aexit__(None, None, None)

    # ---- what there is

    @property
    def primary(self) -> Primary:
        """The mechanism beneath."""
        return self._primary

    @property
    def workers(self) -> Mapping[int, WorkerProcess]:
        """The workers by id: each until it has both disconnected and exited."""
        return self._primary.workers

    async def send(self, pid: int, message: Any, handles: Iterable[Any] = ()) -> None:
        """Sends a message to the worker with that pid; see `Primary.send`."""
        await self._primary.send(pid, message, handles)

    async def broadcast(self, message: Any) -> None:
        """Sends a message to every worker; see `Primary.broadcast`."""
        await self._primary.broadcast(message)

    async def call(self, function: Callable[..., Any], *args: Any, timeout: float | None = None) -> Any:
        """Calls an importable function in the least busy worker, and returns what it returns.

        For what would block this event loop: a sync function runs in a thread of the worker, an async one on its event
        loop. Cancelling this cancels an async function; a sync one runs on, and nobody waits for it.

        Args:
            function: A module-level function, sync or async, or ``"package.module:name"``.
            *args: What msgpack carries, as for a message; so must be what it returns.
            timeout: Seconds to wait at most; None waits as long as the worker lives.

        Raises:
            TargetError: No other process could find the function.
            RemoteError: It raised, or returned what msgpack can't carry.
            TimeoutError: It did not return in time.
            WorkerNotFoundError: No worker runs an event loop just now.
            ChannelClosedError: The worker went before it returned. It may or may not have done the work.
            SerializationError: msgpack can't carry an argument.
        """
        able = [worker for worker in self.workers.values() if worker.is_at_work]
        if not able:
            raise WorkerNotFoundError("no worker runs an event loop just now")
        least_busy = min(able, key=lambda worker: (worker.calls, worker.connections))
        return await least_busy.run(function, args, timeout=timeout)

    def handle_requests(self, handler: RequestHandler | None) -> None:
        """Answers the workers' requests from now on; see `Primary.handle_requests`."""
        self._primary.handle_requests(handler)

    # ---- keeping them alive

    async def _fill(self, slot: _Slot) -> None:
        """Starts a worker for a slot, and returns when it is online.

        Raises:
            StartupError: It ended before, or took too long.
        """
        worker = slot.worker = await self._primary.fork(weight=slot.weight)
        online = asyncio.ensure_future(worker.wait_for("online"))
        unfit = asyncio.ensure_future(worker.wait_unfit())
        try:
            await asyncio.wait({online, unfit}, timeout=self._start_timeout, return_when=asyncio.FIRST_COMPLETED)
            if online.done():
                return
            if not unfit.done():
                worker.kill(signal.SIGKILL)
                await worker.wait()
                raise StartupError(
                    f"worker {worker.id} (pid {worker.pid}) was not online within {self._start_timeout:g} seconds "
                    f"(start_timeout)\n\n{worker.early_stderr.strip()}"
                )
            await worker.wait()
            raise StartupError(startup_text(worker))
        finally:
            online.cancel()
            unfit.cancel()

    async def _keep(self, slot: _Slot) -> None:
        """Replaces a slot's worker whenever it ends unasked, until that happens too often."""
        try:
            while (worker := slot.worker) is not None:
                await worker.wait_unfit()
                if worker.is_leaving or self._is_stopping:
                    return
                self._retire(worker)
                wait = self._history.ended(slot, time.monotonic())
                if wait is None:
                    await self._give_up(worker)
                    return
                await asyncio.sleep(wait)
                try:
                    await self._fill(slot)
                except (StartupError, OSError) as error:
                    logger.error("%s", error)
        finally:
            slot.keeper = None
            if all(other.keeper is None for other in self._slots):
                self._over.set()

    def _retire(self, worker: WorkerProcess) -> None:
        """Sees a worker off that serves no more: it may finish what it has within the graceful timeout."""

        async def see_off() -> None:
            with anyio.move_on_after(self._graceful_timeout):
                self._exits.append((time.monotonic(), await worker.wait()))
                return
            worker.kill(signal.SIGKILL)
            self._exits.append((time.monotonic(), await worker.wait()))

        task = asyncio.get_running_loop().create_task(see_off())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _give_up(self, worker: WorkerProcess) -> None:
        await worker.wait()
        since = time.monotonic() - self._restart.period
        exits = tuple(exit for when, exit in self._exits if when >= since)
        text = (
            f"{len(exits)} workers ended unasked within {self._restart.period:g} seconds, more than the limit of "
            f"{self._restart.limit}: no more replacements"
        )
        logger.critical("%s", text)
        if worker.failure is not None:
            text = f"{text}\n\nthe last one: {worker.failure}"
        elif worker.early_stderr:
            text = f"{text}\n\nthe last one wrote:\n{worker.early_stderr}"
        self._given_up = RestartLimitError(text)
        self._hub.emit(GiveUp(exits, self._restart.period))
        self._over.set()

    # ---- the end

    async def stop(self, graceful: bool = True) -> None:
        """Ends all workers; returns when they are gone.

        Args:
            graceful: They are told to leave and have ``graceful_timeout`` seconds for it; then SIGTERM, and 2 s later
                SIGKILL. False: SIGKILL at once, also to those that an earlier call has told to leave.
        """
        self._is_stopping = True
        for slot in self._slots:
            if slot.keeper is not None:
                slot.keeper.cancel()
        if graceful:
            with anyio.move_on_after(self._graceful_timeout):
                await self._primary.disconnect(timeout=self._graceful_timeout)
            if self.workers:
                self._kill(signal.SIGTERM)
                with anyio.move_on_after(_TERM_TIMEOUT):
                    await self._primary.wait_all_gone()
        if self.workers:
            self._kill(signal.SIGKILL)
            await self._primary.wait_all_gone()
        while self._retiring:
            await asyncio.wait(self._retiring)
        self._over.set()

    def _kill(self, number: signal.Signals) -> None:
        for worker in self.workers.values():
            logger.warning("%r has not left in time: %s", worker, number.name)
            worker.kill(number)

    async def serve_forever(self) -> None:
        """Runs until a signal says to stop, and returns when the workers are gone.

        SIGINT and SIGTERM: a graceful stop; a second one: at once. SIGQUIT: at once. It must be called in the main
        thread, where Python handles signals.

        Raises:
            RestartLimitError: Workers ended unasked too often; those that still run are stopped when the cluster is
                left.
        """
        loop = asyncio.get_running_loop()
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        stopping: asyncio.Task[None] | None = None
        over = asyncio.ensure_future(self._over.wait())
        for number in _HANDLED:
            loop.add_signal_handler(number, signals.put_nowait, number)
        try:
            while not over.done():
                heard = asyncio.ensure_future(signals.get())
                await asyncio.wait({over, heard}, return_when=asyncio.FIRST_COMPLETED)
                if not heard.done():
                    heard.cancel()
                    break
                graceful = heard.result() != signal.SIGQUIT and stopping is None
                logger.info("%s: stopping %s", heard.result().name, "gracefully" if graceful else "at once")
                if graceful:
                    stopping = asyncio.ensure_future(self.stop())
                else:
                    await self.stop(graceful=False)
            if stopping is not None:
                await stopping
        finally:
            over.cancel()
            for number in _HANDLED:
                loop.remove_signal_handler(number)
        if self._given_up is not None:
            raise self._given_up


_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
