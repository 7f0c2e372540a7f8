"""`Cluster`: keeps n workers alive. It decides; what it decides `Primary` does."""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Self, Unpack

import anyio

from .._checks import whole_number
from .._events.emitter import Emitter, PrimaryEvent
from .._primary.primary import Primary
from .._primary.worker_process import WorkerProcess
from .._wire.conversation import RequestHandler
from ..errors import ClusterError, ReloadError, RestartLimitError, WorkerNotFoundError
from ..events import Exit, GiveUp
from ..settings import ClusterSettings, RestartPolicy, Settings, Target
from ..stats import ClusterStats
from . import reload_on_change as watch
from . import signals
from .cpus import available_cpus
from .crew import CANNOT_START, Crew
from .health import HealthCheck, Limits, Sample
from .restart import RestartHistory
from .slot import AgentSlot, Slot

logger = logging.getLogger("aiocluster.cluster")


class Cluster(Emitter[PrimaryEvent]):
    """Keeps ``workers`` workers running that share their ports.

    ``async with`` returns when the agents and every first worker are online, and stops them gracefully when it is left.
    Handlers may be added before it is entered.

    Args:
        target: What workers run; see `Primary`.
        **settings: See `Settings`.

    Raises:
        TargetError: No worker could find the target.
        ValueError: An argument is out of its range; the text names it.
        TypeError: An argument is of the wrong type, or there is none of that name.
    """

    def __init__(self, target: Target = None, **settings: Unpack[ClusterSettings]) -> None:
        checked = Settings()._changed("Cluster", {"target": target, **settings})
        if checked.hang_timeout is not None and "heartbeat" not in settings:
            checked = replace(checked, heartbeat=min(1.0, checked.hang_timeout / 4))
        count = available_cpus() if checked.workers == "auto" else checked.workers
        weights, agents = checked.weights, checked.agents or {}
        if weights is not None and len(weights) != count:
            raise ValueError(f"weights must be {count} numbers from 1 on, one per worker, not {weights!r}")
        self._limits = Limits(checked.hang_timeout, checked.max_memory, checked.max_lifetime, checked.max_connections)
        self._watched = checked.reload_on_change
        self._restart = checked.restart or RestartPolicy()
        self._start_timeout = checked.start_timeout
        self._primary = Primary._of(checked)
        self._hub = self._primary._hub
        self._crew = Crew(self._primary, checked.start_timeout, checked.graceful_timeout)
        self._slots = [self._slot(number, weights[number] if weights else 1) for number in range(count)]
        self._agents = {
            name: AgentSlot(self._crew, self._wait_before_restart, name=name, target=agent)
            for name, agent in agents.items()
        }
        for agent in agents.values():
            self._primary._check_target(agent)
        self._history = RestartHistory(self._restart)
        self._exits: list[tuple[float, Exit]] = []
        self._restarts = 0
        self._health_checks: dict[int, HealthCheck] = {}
        self._changing = asyncio.Lock()  # reload, scale and replacements change slots one after the other
        self._reloading: asyncio.Task[None] | None = None
        self._health: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_entered = False
        self._is_stopping = False
        self._given_up: RestartLimitError | None = None
        self._over = asyncio.Event()  # given up, stopped, or nobody left

    def _slot(self, number: int, weight: int) -> Slot:
        return Slot(self._crew, self._wait_before_restart, weight=weight, slot=number)

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise ClusterError("this Cluster has been entered already; make another one")
        self._is_entered = True
        await self._primary.__aenter__()
        self.on("exit", self._remember)
        try:
            await self._open(self._agents.values())
            await self._open(self._slots)
        except BaseException:
            self._is_stopping = True
            with anyio.CancelScope(shield=True):
                await self._end()
            raise
        if self._limits.are_set:
            self._health = asyncio.get_running_loop().create_task(self._watch_health())
        if self._watched:
            self._watching = asyncio.get_running_loop().create_task(self._reload_on_change())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self.stop()
            finally:
                await self._end()

    async def _end(self) -> None:
        for slot in (*self._slots, *self._agents.values()):
            slot.abandon()
        await self._primary.__aexit__(None, None, None)
        await self._crew.finish()

    async def _open(self, slots: Iterable[Slot]) -> None:
        """Fills these slots, side by side; the first failure is raised."""
        try:
            async with asyncio.TaskGroup() as starts:
                for slot in slots:
                    starts.create_task(slot.open(self._on_slot_over))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    # ---- what there is

    @property
    def primary(self) -> Primary:
        """The mechanism beneath."""
        return self._primary

    @property
    def workers(self) -> Mapping[int, WorkerProcess]:
        """The workers by id, without the agents: each until it has both disconnected and exited."""
        return {worker.id: worker for worker in self._primary.workers.values() if worker.name is None}

    @property
    def agents(self) -> Mapping[str, WorkerProcess]:
        """The agents by name: one that has ended, until its replacement is at work."""
        return {name: slot.worker for name, slot in self._agents.items() if slot.worker is not None}

    def stats(self) -> ClusterStats:
        """What is known now of workers and ports."""
        workers, listeners = self._primary._stats()
        return ClusterStats(workers, listeners, self._restarts)

    async def send(self, pid: int, message: Any, handles: Iterable[Any] = ()) -> None:
        """Sends a message to the worker with that pid; see `Primary.send`."""
        await self._primary.send(pid, message, handles)

    async def broadcast(self, message: Any) -> None:
        """Sends a message to every worker; see `Primary.broadcast`."""
        await self._primary.broadcast(message)

    async def call(self, function: Callable[..., Any] | str, *args: Any, timeout: float | None = None) -> Any:
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
            WorkerNotFoundError: No worker runs an event loop, and none that is starting has come to it within
                ``start_timeout``.
            ChannelClosedError: The worker went before it returned. It may or may not have done the work.
            SerializationError: msgpack can't carry an argument.
        """
        if not (able := self._at_work()):  # those that are online may have yet to start their loops
            await self._wait_for_one_at_work(self._start_timeout if timeout is None else timeout)
            able = self._at_work()
        if not able:
            raise WorkerNotFoundError("no worker runs an event loop just now")
        least_busy = min(able, key=lambda worker: (worker.calls, worker.connections))
        return await least_busy.run(function, args, timeout=timeout)

    def _at_work(self) -> list[WorkerProcess]:
        """The workers whose event loops run, agents aside: they have work of their own."""
        return [worker for worker in self.workers.values() if worker.is_at_work and worker.name is None]

    async def _wait_for_one_at_work(self, seconds: float) -> None:
        waits = {
            asyncio.ensure_future(worker.wait_at_work())
            for worker in self.workers.values()
            if not worker.is_unfit and not worker.is_leaving and worker.name is None
        }
        try:
            if waits:
                await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def handle_requests(self, handler: RequestHandler | None) -> None:
        """Answers the workers' requests from now on; see `Primary.handle_requests`."""
        self._primary.handle_requests(handler)

    # ---- keeping them alive

    def _remember(self, event: Exit) -> None:
        self._health_checks.pop(event.worker.id, None)
        if not event.worker.is_leaving and not self._is_stopping:
            self._exits = [
                (when, exit) for when, exit in self._exits if when >= time.monotonic() - self._restart.period
            ]
            self._exits.append((time.monotonic(), event))

    def _wait_before_restart(self, slot: Slot, worker: WorkerProcess) -> float | None:
        """Decides what `Slot` asks when its worker has ended unasked."""
        if self._is_stopping or self._given_up is not None:
            return None
        wait = self._history.ended(slot, time.monotonic())
        if wait is None:
            self._crew.in_background(self._give_up(worker))
        else:
            self._restarts += 1
        return wait

    async def _give_up(self, worker: WorkerProcess) -> None:
        self._given_up = error = RestartLimitError()
        with anyio.move_on_after(1.0):
            await worker.wait()
        exits = tuple(exit for _, exit in self._exits)
        text = (
            f"more than {self._restart.limit} workers ended unasked within {self._restart.period:g} seconds: "
            "no more replacements"
        )
        logger.critical("%s", text)
        if worker.failure is not None:
            text = f"{text}\n\nthe last one: {worker.failure}"
        elif worker.early_stderr:
            text = f"{text}\n\nthe last one wrote:\n{worker.early_stderr}"
        error.args = (text,)
        self._hub.emit(GiveUp(exits, self._restart.period))
        self._over.set()

    def _on_slot_over(self) -> None:
        if not any(slot.is_kept for slot in self._slots) and self._given_up is None:
            self._over.set()

    # ---- changing them

    async def reload(self) -> None:
        """Replaces every worker and agent by a new one, one after the other, without a connection lost.

        A new worker has to come online, and to listen on as many ports as the old one, before that is told to leave. It
        imports its code anew, and runs with the settings of now (`Primary.setup`). Called while a reload runs, it waits
        for that one. An agent is the exception: there is never a second one, so the old one leaves first.

        Raises:
            ReloadError: A new worker did not come up; the old ones that have not been replaced yet stay.
            ClusterError: The cluster is stopping, or began to before this was done.
        """
        if self._is_stopping or not self._is_entered:
            raise ClusterError("the cluster is not running: nothing to reload")
        if self._reloading is None:
            self._reloading = asyncio.get_running_loop().create_task(self._reload())
            self._reloading.add_done_callback(self._on_reloaded)
        reloading = self._reloading
        try:
            await asyncio.shield(reloading)
        except asyncio.CancelledError:
            if reloading.cancelled() and self._is_stopping:  # by `stop`, not the caller's own task
                raise ClusterError("the cluster is stopping: the reload has been given up") from None
            raise

    def _on_reloaded(self, task: asyncio.Task[None]) -> None:
        self._reloading = None
        if not task.cancelled():
            task.exception()  # whoever waits for it has it; perhaps nobody does any more

    async def _reload(self) -> None:
        async with self._changing:
            self._primary._renew_templates()
            for slot in (*self._agents.values(), *self._slots):
                try:
                    await slot.renew(self._on_slot_over)
                except CANNOT_START as error:
                    raise ReloadError(f"the reload has been given up, the old workers stay: {error}") from error

    async def _reload_on_change(self) -> None:
        async for changed in watch.changes(self._watched):
            logger.info("changed: %s; reloading", ", ".join(changed))
            try:
                await self.reload()
            except ReloadError as error:
                logger.error("%s", error)

    async def scale(self, workers: int) -> None:
        """Changes how many workers there are; returns when the new ones are online, or the last ones gone.

        Raises:
            ValueError: The number is below 1.
            StartupError: A new worker did not come up; those that did stay.
            ClusterError: The cluster is stopping.
        """
        whole_number("workers", workers, at_least=1)
        self._check_can_scale()
        async with self._changing:
            self._check_can_scale()
            taken = {slot.number for slot in self._slots}
            free = (number for number in itertools.count() if number not in taken)
            new = [self._slot(next(free), 1) for _ in range(workers - len(self._slots))]
            surplus = self._slots[workers:]
            del self._slots[workers:]
            await asyncio.gather(*(slot.close() for slot in surplus))
            try:
                await self._open(new)
            finally:
                self._slots += [slot for slot in new if slot.worker is not None]

    def _check_can_scale(self) -> None:
        if self._is_stopping or not self._is_entered:
            raise ClusterError("the cluster is not running: it can't be scaled")

    async def _watch_health(self) -> None:
        """Replaces workers that have reached a limit, one at a time."""
        interval = min(0.25, (self._limits.hang_timeout or 1.0) / 4)
        while True:
            due = time.monotonic() + interval
            await asyncio.sleep(interval)
            if time.monotonic() - due > interval:
                continue  # this loop was blocked itself: what the workers reported meanwhile has yet to be read
            for slot in (*self._slots, *self._agents.values()):
                worker = slot.worker
                if worker is None or worker.is_unfit or worker.is_leaving or worker.state == "starting":
                    continue
                health_check = self._health_checks.setdefault(worker.id, HealthCheck(self._limits))
                sample = Sample(worker.silence, worker.age, worker.memory, worker.backend.accepted)
                if health_check.is_hung(sample):
                    logger.error("%r has been blocked for %.1f s: its stacks go to stderr", worker, sample.silence)
                    self._crew.in_background(self._crew.abort(worker))
                elif (why := health_check.why_due(sample)) and not self._changing.locked():
                    logger.info("%r is replaced: %s", worker, why)
                    self._crew.in_background(self._renew(slot, worker))

    async def _renew(self, slot: Slot, worker: WorkerProcess) -> None:
        async with self._changing:
            has_been = slot.worker is not worker or worker.is_unfit or worker.is_leaving
            if not self._is_stopping and not has_been:
                try:
                    await slot.renew(self._on_slot_over)
                except CANNOT_START as error:
                    logger.error("%s", error)

    # ---- the end

    async def stop(self, graceful: bool = True) -> None:
        """Ends all workers, then the agents; returns when they are gone.

        Args:
            graceful: They are told to leave and have ``graceful_timeout`` seconds for it; then SIGTERM, and 2 s later
                SIGKILL. False: SIGKILL at once, also to those that an earlier call has told to leave.
        """
        self._is_stopping = True
        for task in (self._health, self._watching, self._reloading):
            if task is not None:
                task.cancel()
        for slot in (*self._slots, *self._agents.values()):
            slot.abandon()
        for workers in (self.workers, self.agents):
            if graceful:
                await asyncio.gather(*(self._crew.see_off(worker) for worker in workers.values()))
        for worker in self._primary.workers.values():
            worker.kill(signal.SIGKILL)
        await self._primary._all_gone.wait()
        await self._crew.finish()
        self._over.set()

    async def serve_forever(self) -> None:
        """Runs until a signal says to stop, and returns when the workers are gone.

        SIGINT and SIGTERM: a graceful stop; a second one: at once. SIGQUIT: at once. SIGHUP: `reload`. SIGTTIN and
        SIGTTOU: one worker more, one fewer. It must be called in the main thread, where Python handles signals.

        Raises:
            RestartLimitError: Workers ended unasked too often; those that still run are stopped when the cluster is
                left.
        """
        await signals.until(
            self._over,
            {
                signal.SIGINT: self._stop_or_kill,
                signal.SIGTERM: self._stop_or_kill,
                signal.SIGQUIT: lambda: self.stop(graceful=False),
                signal.SIGHUP: self.reload,
                signal.SIGTTIN: lambda: self.scale(len(self._slots) + 1),
                signal.SIGTTOU: lambda: self.scale(max(1, len(self._slots) - 1)),
            },
        )
        if self._given_up is not None:
            raise self._given_up

    async def _stop_or_kill(self) -> None:
        await self.stop(graceful=not self._is_stopping)
