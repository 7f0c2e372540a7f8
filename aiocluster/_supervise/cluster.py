"""`Cluster`: takes the user's requests, and waits until the reconciler has carried them out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, Unpack

import anyio

from .._checks import low_and_high
from .._events.emitter import Emitter, PrimaryEvent
from .._primary.session import Session
from .._primary.worker_process import WorkerProcess
from .._processes.title import set_title
from .._processes.watch import to_the_end
from .._wire.mailbox import RequestHandler
from .._wire.topic_peer import TopicPeer
from ..address import Address
from ..errors import ClusterError, WorkerNotFoundError
from ..settings import Agent, ClusterSettings, ClusterSetupSettings, Target
from ..stats import ClusterStats
from .bounds import Bounds
from .cluster_primary import ClusterPrimary
from .control import Control
from .cpus import available_cpus
from .given import Given, is_of_fleet
from .http_answer import Content
from .http_place import HttpPlace
from .metrics import Metrics
from .reconcile import Reconciler
from .reload_on_change import ReloadOnChange
from .signals import Commands, Signals
from .status import Status

if TYPE_CHECKING:
    from .._fleet.member import Member
    from .._state.state import State
    from .._wire.topics import Topics
    from ..fleet import Fleet

logger = logging.getLogger("aiocluster.cluster")


class Cluster(Emitter[PrimaryEvent], TopicPeer):
    """Keeps ``workers`` workers running, which share their ports; with ``(low, high)`` as many as the load needs.

    Entering ``async with`` returns when the agents and all initial workers are online. Leaving it stops them
    gracefully. Handlers may be added before.

    Args:
        target: The code that workers run; see `Primary`.
        **settings: See `Settings`.

    Raises:
        TargetError: No worker could find the target.
        ValueError: An argument is out of its range; the text names it.
        TypeError: An argument is of the wrong type, or does not exist.
    """

    def __init__(self, target: Target = None, **settings: Unpack[ClusterSettings]) -> None:
        given = Given().changed({"target": target, **settings})
        workers = given.settings.workers
        self._first_bounds = Bounds.of(available_cpus() if workers == "auto" else workers)
        self._primary = ClusterPrimary(given, self._first_bounds.high)
        self._hub = self._primary._hub
        for agent in (given.settings.agents or {}).values():
            self._primary._check_target(agent.target if isinstance(agent, Agent) else agent)
        self._reconciler = Reconciler(self._primary)
        self._watch = ReloadOnChange(self._primary, self._reconciler)
        self._status = Status(self._primary, self._reconciler)
        self._metrics = Metrics(self._primary, self.stats)
        self._metrics_page = HttpPlace("metrics", {"/metrics": self._make_metrics_page})
        self._places = {"health": self._status.place, "metrics": self._metrics_page}
        self._primary._slots = lambda: self._bounds.high
        self._primary._check_env(given.settings)
        self._primary.settings_changed = self._settings_changed
        self._signals = Signals(
            Commands(
                stop=self.stop,
                skip_drain_delay=self._reconciler.skip_drain_delay,
                reload=self.reload,
                resize=self._resize,
                patience=lambda: self._primary.settings.drain_delay + self._primary.settings.graceful_timeout,
            )
        )
        self._primary._shared.is_stopping = lambda: self._reconciler.is_stopping
        self._primary._shared.is_ending = lambda: self._signals.has_ended_it or self._reconciler.is_stopping
        self._control = Control(self, given.settings.name)
        self._member: Member | None = None
        self._fleet: Fleet | None = None
        self._is_entered = False

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise ClusterError("this Cluster has been entered already; make another one")
        self._primary._check_nesting()
        self._is_entered = True
        self._signals.begin()
        try:
            await self._primary.__aenter__()
        except BaseException:
            self._signals.leaving()
            await self._signals.end()
            raise
        try:
            set_title(self._primary._cluster_name, "primary, starting")
            await self._status.begin()
            self._metrics.begin()
            await self._metrics_page.begin(self._primary.settings.metrics)
            self._want_metrics()
            self._control.begin()
            self._primary._claimed_name = self._control.name
            set_title(self._primary._cluster_name, "primary, starting")
            await self._join_fleet()
            await self._primary._begin_state()
            self._reconciler.begin()
            self._watch.begin()
            await self._reconciler.start_agents()
            await self._reconciler.scale(self._first_bounds)
            await self._watch.wait_until_all_run()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        set_title(self._primary._cluster_name, "primary")
        self._signals.up()
        self._control.up()
        return self

    async def __aexit__(self, kind: object = None, error: BaseException | None = None, trace: object = None) -> None:
        self._signals.leaving()
        try:
            with anyio.CancelScope(shield=True):
                await self.stop()
        finally:  # also when the stop is cancelled: then by SIGTERM, and 2 s later by SIGKILL
            await to_the_end(self._end(error))

    async def _end(self, error: BaseException | None) -> None:
        """Ends everything, the last of these lines first; each also if one before it has failed."""
        async with AsyncExitStack() as ending:
            ending.push_async_callback(self._status.end)
            ending.push_async_callback(self._metrics.end)
            ending.push_async_callback(self._metrics_page.end)
            ending.push_async_callback(self._signals.end)
            ending.push_async_callback(self._control.end, error)
            ending.push_async_callback(self._leave_fleet)
            ending.push_async_callback(self._primary.__aexit__, None, None, None)
            ending.push_async_callback(self._reconciler.end)
            ending.push_async_callback(self._watch.end)

    async def _join_fleet(self) -> None:
        settings = self._primary.settings
        if settings.backplane is not None and settings.fleet is not None:
            from .._fleet.join import join

            lone = [name for name, agent in (settings.agents or {}).items() if is_of_fleet(agent)]
            self._member = await join(self._primary, settings.backplane, settings.fleet, lone)
            self._reconciler.leases = self._member.leases
            self._member.leases_changed = self._reconciler.wake

    async def _leave_fleet(self) -> None:
        if self._member is not None:
            await self._member.end()
            self._hub.cancel()
            await self._hub.drain()

    # ---- status

    @property
    def fleet(self) -> Fleet:
        """The fleet that this cluster is one of.

        Raises:
            ClusterError: It is in none, or the ``async with`` block has not been entered.
        """
        if self._fleet is None:
            if self._member is None:
                raise ClusterError(
                    "this cluster is in no fleet: that takes Cluster(backplane=…, fleet=…), and its async with block"
                )
            from .._fleet.join import fleet_of

            self._fleet = fleet_of(self._member, self._primary)
        return self._fleet

    @property
    def primary(self) -> ClusterPrimary:
        """The `Primary` that starts the workers. Its ``setup()`` is the cluster's."""
        return self._primary

    @property
    def workers(self) -> Mapping[int, WorkerProcess]:
        """The workers by id, without agents. A worker is removed when it has both disconnected and exited."""
        return {worker.id: worker for worker in self._primary.workers.values() if worker.name is None}

    @property
    def agents(self) -> Mapping[str, WorkerProcess]:
        """The agents by name. An agent that has ended stays here until its replacement is online."""
        return self._reconciler.agents

    @property
    def state(self) -> State:
        """The state that all workers share, and this process, too; see the setting ``state``.

        It can be used inside ``async with``, until the last worker has ended.
        """
        return self._primary.state

    def stats(self) -> ClusterStats:
        """Returns the current numbers of workers and ports."""
        workers, ports = self._primary._stats()
        low, high = self._bounds
        return ClusterStats(workers, ports, self._reconciler.restarts, (low, high))

    @property
    def health_address(self) -> Address | None:
        """Where ``/live`` and ``/ready`` are answered (the setting ``health``); None: nowhere, or not yet."""
        return self._status.address

    @property
    def metrics_address(self) -> Address | None:
        """Where ``/metrics`` is answered (the setting ``metrics``); None: nowhere, or not yet."""
        return self._metrics_page.address

    async def _make_metrics_page(self, accept: str) -> Content:
        return Content(HTTPStatus.OK, *await self._metrics.page(accept))

    def _want_metrics(self) -> None:
        if self._primary.settings.metrics is not None:
            self._metrics.want()

    @property
    def _bounds(self) -> Bounds:
        """The least and the most workers once all requests are done."""
        return self._reconciler.bounds if self._reconciler.bounds.high else self._first_bounds

    async def send(self, pid: int, message: Any, handles: Iterable[Any] = ()) -> None:
        """Sends a message to the worker with this pid; see `Primary.send`."""
        await self._primary.send(pid, message, handles)

    async def broadcast(self, message: Any) -> None:
        """Sends a message to every worker; see `Primary.broadcast`.

        Raises:
            ClusterError: The ``async with`` block has not been entered, or has been left.
        """
        self._check_is_open("broadcast()")
        await self._primary.broadcast(message)

    def _begin_topics(self) -> Topics:
        self._topics = self._primary._topics or self._primary._begin_topics()
        return self._topics

    async def call(self, function: Callable[..., Any] | str, *args: Any, timeout: float | None = None) -> Any:
        """Calls an importable function in the least busy worker, and returns its result.

        Use it for work that would block this event loop. A sync function runs in a thread of the worker, an async one
        on its event loop. Cancelling the call cancels an async function; a sync one runs to its end.

        Args:
            function: A module-level function, sync or async, or ``"package.module:name"``.
            *args: Values that msgpack can carry, as for a message. The result must be such a value too.
            timeout: Seconds to wait at most; None: as long as the worker lives.

        Raises:
            TargetError: No other process could find the function.
            RemoteError: The function raised, or msgpack can't carry its result.
            TimeoutError: The function did not return in time.
            WorkerNotFoundError: No worker runs an event loop, and no starting worker did so within the timeout
                (``start_timeout`` if that is None).
            ChannelClosedError: The worker went before it returned. The function may or may not have run.
            SerializationError: msgpack can't carry an argument.
            ClusterError: The ``async with`` block has not been entered, or has been left.
        """
        self._check_is_open("call()")
        if not (able := self._ready()):  # online workers may not have started their loops yet
            await self._wait_for_one_ready(self._reconciler.start_timeout if timeout is None else timeout)
            able = self._ready()
        if not able:
            raise WorkerNotFoundError("no worker runs an event loop just now")
        least_busy = min(able, key=lambda session: (session.calls, session.backend.open))
        return await least_busy.run(function, args, timeout=timeout)

    def _ready(self) -> list[Session]:
        """Returns the workers whose event loops run, without agents, which have work of their own."""
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
        """Sets the handler of the workers' requests; see `Primary.handle_requests`."""
        self._primary.handle_requests(handler)

    # ---- changes

    def setup(self, **settings: Unpack[ClusterSetupSettings]) -> None:
        """Changes these settings and keeps the others. Emits the event ``setup``.

        Each setting is read when it is used: those about a worker's start and ``weights`` by later starts,
        ``scheduling`` by ports that are opened later, ``graceful_timeout`` by the next leave, ``drain_delay`` by the
        next stop, ``restart`` by the next end, ``start_timeout`` also by starts under way. Limits count for all workers
        at once; `reload` has all workers started with the new settings. ``reload_on_change`` watches other files, and
        ``health`` and ``metrics`` are answered at the new address once it listens there. If it can't, the log says so,
        and the old one stays.

        Args:
            **settings: See `Settings`. All but ``workers`` (that is `scale`), ``agents``, ``name`` and ``systemd``.

        Raises:
            TargetError: No worker could find the target.
            ValueError: A setting is out of its range.
            TypeError: There is no such setting, it is of the wrong type, or it can't be changed. Nothing has changed.
        """
        self._primary.setup(**settings)

    def _settings_changed(self) -> None:
        self._reconciler.settings_changed()
        self._watch.settings_changed()
        self._status.settings_changed()
        self._metrics_page.settings_changed(self._primary.settings.metrics)
        self._want_metrics()

    async def reload(self) -> None:
        """Replaces all workers and agents, one at a time, without losing a connection.

        The old worker is told to leave once the new one is online and listens on as many ports. The new one imports the
        current code and runs with the current settings (`Primary.setup`). An agent never runs twice, so the old one
        leaves first. A call during a reload asks for one more after it, and further calls wait for the same one.

        With the setting ``reload_on_change`` all workers are replaced at once, and then the agents; a call during a
        reload begins it anew.

        Raises:
            ReloadError: A new worker failed to start. Old workers that have not been replaced yet stay.
            ClusterError: The cluster is stopping, or began to stop during the reload.
        """
        if not self._reconciler.is_running:
            raise ClusterError("the cluster is not running: nothing to reload")
        with self._status.reloading(), self._metrics.reloading():
            await self._reconciler.reload()

    async def scale(self, workers: int | tuple[int, int]) -> None:
        """Changes the number of workers. Returns when the new ones are online, or the surplus ones gone.

        Args:
            workers: The number. ``(low, high)``: as many as the load needs, within these bounds. Afterwards at least
                ``low`` run, and at most ``high``.

        Raises:
            ValueError: A number is below 1, or the lower one comes second.
            TypeError: It is neither a whole number nor two.
            StartupError: A new worker failed to start. New workers that started stay.
            ClusterError: The cluster is stopping.
        """
        bounds = Bounds.of(low_and_high("workers", workers))
        if not self._reconciler.is_running:
            raise ClusterError("the cluster is not running: it can't be scaled")
        await self._reconciler.scale(bounds)

    async def _resize(self, by: int) -> None:
        await self.scale(self._bounds.moved(by))

    # ---- stopping

    async def stop(self, graceful: bool = True) -> None:
        """Ends all workers, then the agents. Returns when they are gone.

        Args:
            graceful: True: tell them to leave within ``graceful_timeout`` seconds; any left after that get SIGTERM, and
                2 s later SIGKILL. False: send SIGKILL at once, also to those that are already leaving.
        """
        self._watch.stop()
        self._status.stopping()
        await self._reconciler.stop(graceful=graceful)

    async def serve_forever(self) -> None:
        """Runs until a signal stops the cluster, and returns when the workers are gone.

        SIGINT and SIGTERM stop it gracefully, a second one at once. SIGQUIT stops it at once. SIGHUP calls `reload`, or
        stops it gracefully if the terminal has been lost. SIGTTIN adds a worker, SIGTTOU removes one; with
        ``workers=(low, high)`` they move both bounds. Python handles signals in the main thread only, so a cluster that
        is entered in another thread does not hear them.

        Raises:
            StartupError: A first worker has failed as every other one would, before it listened: its port is in use or
                not allowed, or an import failed. The text is one line; the log has the traceback.
            RestartLimitError: Workers ended unexpectedly too often. Those still running are stopped when the
                ``async with`` block is left.
            ClusterError: The ``async with`` block has not been entered, or has been left.
        """
        self._check_is_open("serve_forever()")
        with self._signals.served():
            await self._reconciler.over.wait()
            await self._signals.done()
        if self._reconciler.given_up is not None:
            raise self._reconciler.given_up

    def _check_is_open(self, call: str) -> None:
        if not self._primary._is_open:
            raise ClusterError(f"{call} works only inside `async with Cluster(…)`")
