"""`Cluster`: says how many workers there should be, and waits until the reconciler has them."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import anyio

from .._events.emitter import Emitter
from .._primary.primary import Primary
from .._primary.session import Session
from .._primary.worker_process import WorkerProcess
from .._wire.mailbox import RequestHandler
from ..errors import ClusterError, ReloadError, WorkerNotFoundError
from ..stats import ClusterStats
from . import reload_on_change as watch
from . import signals
from .cpus import available_cpus
from .health import Limits
from .plan import Slot
from .reconcile import Reconciler
from .restart import RestartPolicy

logger = logging.getLogger("aiocluster.cluster")


class Cluster(Emitter):
    """Keeps ``workers`` workers running that share their ports.

    ``async with`` returns when the agents and every first worker are online, and stops them gracefully when it is left.
    Handlers may be added before it is entered.

    Args:
        target: What workers run; see `Primary`.
        workers: How many; ``"auto"``: as many as this process may use CPUs, by affinity and control group.
        weights: One per worker, for weighted scheduling.
        restart: When workers that end unasked are replaced.
        agents: Further targets by name. Each runs in one process of its own, started before the workers and restarted
            like them: for what must be done once in the whole cluster. Any worker reaches it by ``send_to(name, …)``.
        start_timeout: Seconds a worker may take to come online.
        graceful_timeout: Seconds a worker that is told to leave may take; then SIGTERM, 2 s later SIGKILL.
        hang_timeout: Seconds an event loop may be blocked; then the worker's stacks go to its stderr, it is killed and
            replaced.
        max_memory: Bytes of resident memory; a worker that has more is replaced gracefully.
        max_lifetime: Seconds a worker may live, likewise.
        max_connections: Connections a worker may take, likewise.
        reload_on_change: Files and folders; when a Python file there changes, the workers are reloaded. For
            development; needs the extra ``watch``.
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
        agents: Mapping[str, Any] | None = None,
        start_timeout: float = 30.0,
        graceful_timeout: float = 30.0,
        hang_timeout: float | None = None,
        max_memory: int | None = None,
        max_lifetime: float | None = None,
        max_connections: int | None = None,
        reload_on_change: watch.Paths = (),
        **settings: Any,
    ) -> None:
        count = _checked_count(available_cpus() if workers == "auto" else workers)
        _check_seconds("start_timeout", start_timeout)
        _check_seconds("graceful_timeout", graceful_timeout)
        if weights is not None and (len(weights) != count or min(weights) < 1):
            raise ValueError(f"weights must be {count} numbers from 1 on, one per worker, not {weights!r}")
        limits = Limits(hang_timeout, max_memory, max_lifetime, max_connections)
        if hang_timeout is not None:
            settings.setdefault("heartbeat", min(1.0, hang_timeout / 4))
        watch.check(reload_on_change)
        self._watched = tuple(reload_on_change)
        self._count = count
        self._weights = dict(enumerate(weights or ()))
        self._agents = dict(agents or {})
        self._primary = Primary(target, graceful_timeout=graceful_timeout, **settings)
        self._hub = self._primary._hub
        for agent in self._agents.values():
            self._primary._check_target(agent)
        self._reconciler = Reconciler(
            self._primary,
            self._arguments,
            policy=restart or RestartPolicy(),
            limits=limits,
            start_timeout=start_timeout,
        )
        self._watching: asyncio.Task[None] | None = None
        self._is_entered = False

    def _arguments(self, slot: Slot) -> dict[str, Any]:
        """What `Primary.fork` is told of a process in this slot."""
        if isinstance(slot, str):
            return {"name": slot, "target": self._agents[slot]}
        return {"slot": slot, "weight": self._weights.get(slot, 1)}

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise ClusterError("this Cluster has been entered already; make another one")
        self._is_entered = True
        await self._primary.__aenter__()
        self._reconciler.begin()
        try:
            await self._reconciler.start_agents(tuple(self._agents))
            await self._reconciler.scale(self._count)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end()
            raise
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
        try:
            await self._reconciler.end()
        finally:
            await self._primary.__aexit__(None, None, None)

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
        found = ((name, self._reconciler.at_work(name)) for name in self._agents)
        return {name: worker for name, worker in found if worker is not None}

    def stats(self) -> ClusterStats:
        """What is known now of workers and ports."""
        workers, ports = self._primary._stats()
        return ClusterStats(workers, ports, self._reconciler.restarts)

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
        if not (able := self._ready()):  # those that are online may have yet to start their loops
            await self._wait_for_one_ready(self._reconciler.start_timeout if timeout is None else timeout)
            able = self._ready()
        if not able:
            raise WorkerNotFoundError("no worker runs an event loop just now")
        least_busy = min(able, key=lambda session: (session.calls, session.backend.open))
        return await least_busy.run(function, args, timeout=timeout)

    def _ready(self) -> list[Session]:
        """The workers whose event loops run, agents aside: they have work of their own."""
        return [worker._session for worker in self.workers.values() if worker._session.life.is_ready]

    async def _wait_for_one_ready(self, seconds: float) -> None:
        sessions = [worker._session for worker in self.workers.values()]
        waits = {asyncio.ensure_future(session.wait_ready()) for session in sessions if session.life.takes_connections}
        try:
            if waits:
                await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def handle_requests(self, handler: RequestHandler | None) -> None:
        """Answers the workers' requests from now on; see `Primary.handle_requests`."""
        self._primary.handle_requests(handler)

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
        if not self._reconciler.is_running:
            raise ClusterError("the cluster is not running: nothing to reload")
        await self._reconciler.reload()

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
        _checked_count(workers)
        if not self._reconciler.is_running:
            raise ClusterError("the cluster is not running: it can't be scaled")
        await self._reconciler.scale(workers)

    # ---- the end

    async def stop(self, graceful: bool = True) -> None:
        """Ends all workers, then the agents; returns when they are gone.

        Args:
            graceful: They are told to leave and have ``graceful_timeout`` seconds for it; then SIGTERM, and 2 s later
                SIGKILL. False: SIGKILL at once, also to those that an earlier call has told to leave.
        """
        if self._watching is not None:
            self._watching.cancel()
        await self._reconciler.stop(graceful=graceful)

    async def serve_forever(self) -> None:
        """Runs until a signal says to stop, and returns when the workers are gone.

        SIGINT and SIGTERM: a graceful stop; a second one: at once. SIGQUIT: at once. SIGHUP: `reload`. SIGTTIN and
        SIGTTOU: one worker more, one fewer. It must be called in the main thread, where Python handles signals.

        Raises:
            RestartLimitError: Workers ended unasked too often; those that still run are stopped when the cluster is
                left.
        """
        await signals.until(
            self._reconciler.over,
            {
                signal.SIGINT: self._stop_or_kill,
                signal.SIGTERM: self._stop_or_kill,
                signal.SIGQUIT: lambda: self.stop(graceful=False),
                signal.SIGHUP: self.reload,
                signal.SIGTTIN: lambda: self.scale(self._reconciler.workers + 1),
                signal.SIGTTOU: lambda: self.scale(max(1, self._reconciler.workers - 1)),
            },
        )
        if self._reconciler.given_up is not None:
            raise self._reconciler.given_up

    async def _stop_or_kill(self) -> None:
        await self.stop(graceful=not self._reconciler.is_stopping)


def _checked_count(count: int | str) -> int:
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f'workers must be a number or "auto", not {count!r}')
    if count < 1:
        raise ValueError(f'workers must be a number from 1 on, or "auto", not {count!r}')
    return count


def _check_seconds(name: str, seconds: object) -> None:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{name} must be a number of seconds, not {seconds!r}")
    if not seconds >= 0:
        raise ValueError(f"{name} must be a number of seconds from 0 on, not {seconds!r}")
