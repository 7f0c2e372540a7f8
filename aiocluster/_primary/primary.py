"""`Primary`: starts workers, shares ports with them, and routes messages. The policy is in `_supervise`."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
import weakref
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, Unpack

import anyio

from .._bind import DEFAULT
from .._checks import whole_number
from .._events.emitter import Emitter, PrimaryEvent
from .._processes.orphans import Orphans
from .._processes.stdio import PipeReader, occupy_standard, open_channel
from .._processes.title import set_title
from .._processes.watch import to_the_end
from .._wire import main_guard
from .._wire.addresses import addresses
from .._wire.channel import Channel
from .._wire.codec import MAX_FRAME_OF_PEER, pack
from .._wire.endpoint import Endpoint, port_number
from .._wire.frames import LeaseHeld, SideChannel, TargetName, WorkerConfig
from .._wire.peer import Answerer
from .._wire.socket_file import whole_path
from .._wire.titles import named_after
from .._wire.topic_peer import TopicPeer
from .._wire.windows import send_to_all
from ..address import Address
from ..errors import (
    BackplaneError,
    ChannelClosedError,
    ClusterError,
    StartupError,
    StoppingError,
    TargetError,
    WorkerNotFoundError,
)
from ..events import Setup
from ..settings import PrimarySettings, Settings, SetupSettings, Target, variables
from ..stats import PortStats, WorkerStats
from .forkserver import ForkServer
from .launch import Child, cpu_for, environment, spawn, variables_for
from .own_topics import OwnTopics
from .ports.table import Place
from .relay import Relay, Relays
from .session import Identity, Session, Shared
from .target import name_target
from .term import Term
from .worker_process import WorkerProcess

if TYPE_CHECKING:
    from .._wire.topics import Topics

_KILL_TIMEOUT = 2.0  # seconds between SIGTERM and SIGKILL
_ENDING = "fork() works only inside `async with Primary(…)`, until all workers are told to end"


class Primary(Emitter[PrimaryEvent], Answerer, TopicPeer):
    """Starts workers and connects them. Use it as an async context manager.

    On exit it ends all remaining workers: by SIGTERM, and 2 s later by SIGKILL. Call `disconnect` first to let them
    finish.

    Args:
        target: What workers run: a module-level function, ``"package.module:name"``, ``"path/to/script.py"``,
            ``"package.module"``, or None to run the main script again.
        **settings: See `Settings`.

    Raises:
        TargetError: No worker could find the target.
        ValueError: A setting is out of its range.
        TypeError: There is no such setting, or it is of the wrong type.
    """

    def __init__(self, target: Target = None, **settings: Unpack[PrimarySettings]) -> None:
        self._begin(Settings()._changed("Primary", {"target": target, **settings}))

    def _begin(self, given: Settings) -> None:
        self._shared = Shared(given, gone=self._on_gone)
        try:
            self._named = self._name(given)
        except TargetError:
            main_guard.check_is_loaded()  # then this says more
            raise
        self._hub = self._shared.hub
        self._requests = self._shared.requests
        self._app_address = DEFAULT  # of an app that is named as a function is
        self._workers: dict[int, WorkerProcess] = {}
        self._by_pid: dict[int, WorkerProcess] = {}
        self._last_id = 0
        self._starting: dict[int, Place] = {}  # by id: workers that are being forked
        self._claimed_name: str | None = None  # a Cluster's own
        self._slots: Callable[[], int] = int  # how many slots a Cluster fills; 0 without one
        self._fork_servers: dict[tuple[Hashable, TargetName], ForkServer] = {}  # those of the current settings
        self._all_fork_servers: list[ForkServer] = []
        self._streams: weakref.WeakSet[PipeReader] = weakref.WeakSet()
        self._state_url: str | None = None  # only a Cluster has a state
        self._all_gone = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._relays = Relays(None, Relay(2))  # the command has its own
        self._orphans = Orphans()
        self._is_open = self._is_left = False
        self._own_topics: OwnTopics | None = None
        self._fleet_error: BackplaneError | None = None

    async def __aenter__(self) -> Self:
        if self._is_open:
            raise ClusterError("this Primary has been entered already")
        self._check_nesting()
        occupy_standard()
        await anyio.lowlevel.checkpoint()  # imports anyio's backend now: later there may be no descriptor left for it
        await self._relays.start()
        self._is_open, self._is_left = True, False
        self._all_gone.set()
        self._topics = self._own_topics = None
        set_title(self._cluster_name, "primary")
        self._orphans.start()
        return self

    @property
    def _cluster_name(self) -> str:
        """The name for process titles."""
        return self._claimed_name or self.settings.name or named_after(self._named)

    def _check_nesting(self) -> None:
        """Raises `RuntimeError` in a worker if its workers would start clusters, too; see `main_guard`."""
        main_guard.check(self._named)

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_open = False
        self._is_left = True
        await to_the_end(self._end())

    async def _end(self) -> None:
        try:
            with anyio.CancelScope(shield=True):
                for number in (signal.SIGTERM, signal.SIGKILL):
                    for session in self._all_sessions():
                        session.kill(number, "told")
                    with anyio.move_on_after(_KILL_TIMEOUT if number == signal.SIGTERM else None):
                        await self._all_gone.wait()
        finally:
            try:
                for fork_server in self._all_fork_servers:
                    fork_server.kill()
                    await fork_server.wait_gone()
                await self._end_state()
                for stream in list(self._streams):
                    stream.close()
                self._shared.ports.close()
                if self._own_topics is not None:
                    self._own_topics.close()
                self._hub.cancel()
                while self._closing:
                    await asyncio.wait(self._closing)
                await self._hub.drain()
                await self._shared.logs.close()
            finally:
                self._orphans.stop()
                await self._relays.stop()

    async def _end_state(self) -> None:
        """Ends the process that keeps the state, if there is one."""

    # ---- workers

    @property
    def workers(self) -> Mapping[int, WorkerProcess]:
        """The workers by id. A worker is removed when it has both disconnected and exited."""
        return MappingProxyType(self._workers)

    def worker(self, pid: int) -> WorkerProcess:
        """Returns the worker with this pid.

        Raises:
            WorkerNotFoundError: There is none.
        """
        worker = self._by_pid.get(pid)
        if worker is None:
            raise WorkerNotFoundError(f"no worker has pid {pid}; there are {sorted(self._by_pid) or 'none'}")
        return worker

    def _all_sessions(self) -> list[Session]:
        return [worker._session for worker in self._workers.values()]

    @property
    def settings(self) -> Settings:
        """The settings for the next worker."""
        return self._shared.settings

    def setup(self, **settings: Unpack[SetupSettings]) -> None:
        """Changes these settings for later forks and keeps the others. Emits the event ``setup``.

        Raises:
            TargetError: No worker could find the target.
            ValueError: A setting is out of its range.
            TypeError: There is no such setting, or it is of the wrong type.
        """
        self._change(self.settings._changed("Primary", settings), is_new_env="env" in settings)

    def _change(self, changed: Settings, *, is_new_env: bool) -> None:
        """Has later forks use these settings, or raises `TargetError`, or what a new ``env`` raises."""
        target = self._name(changed)
        if is_new_env:
            self._check_env(changed)
        self._shared.settings = changed
        interpreter = _interpreter(changed)
        self._retire_fork_servers(lambda of, named: of != interpreter or (named == self._named and named != target))
        self._named = target
        self._hub.emit_soon(Setup(changed))

    def _check_env(self, settings: Settings) -> None:
        """Raises TypeError or ValueError if ``env`` is a function that fails for one of the slots of a Cluster."""
        for slot in range(self._slots()):
            variables_for(settings.env, slot)

    def _name(self, settings: Settings) -> TargetName:
        """Returns how workers find the target, or raises `TargetError`."""
        is_edited = bool(settings.reload_on_change)
        return name_target(settings.target, settings.cwd, self._shared.folders, is_edited=is_edited)

    def _check_target(self, target: Any) -> None:
        """Raises `TargetError` if workers could not find this target."""
        self._name(replace(self.settings, target=target))

    async def fork(self, env: Mapping[str, str] | None = None, *, weight: int = 1) -> WorkerProcess:
        """Starts a worker. Returns once the process runs; wait for ``online`` to know that its target is loaded.

        Its slot is the lowest number from 0 on that no worker has that still works. With the primary of a `Cluster`, it
        is one above those of the cluster's own workers; scaling up may come to use it, too.

        Args:
            env: Variables to add to the environment of this worker only.
            weight: Its relative share of connections under weighted scheduling; at least 1.

        Raises:
            ClusterError: This Primary has not been entered.
            StoppingError: It has been left, or its Cluster is stopping. This is not logged if a handler of
                the event ``exit`` raises it, which forks again.
            TargetError: The target no longer exists.
            ValueError: The weight is below 1.
            TypeError: The weight is not a whole number, or ``env`` not a mapping of str to str.
            StartupError: The setting ``env`` is a function that has no variables for its slot; or the fork server has
                failed.
            OSError: The process can't be started.
        """
        whole_number("weight", weight, at_least=1)
        if self._shared.is_stopping():
            raise StoppingError(_ENDING)
        return await self._fork(None if env is None else variables("env", env), weight=weight)

    async def _fork(
        self,
        env: Mapping[str, str] | None = None,
        *,
        weight: int = 1,
        place: Place | None = None,
        target: Any = ...,
        args: Sequence[str] | None = None,
        term: Term | None = None,
        timeout: float | None = None,
    ) -> WorkerProcess:
        """Like `fork`, with more options for a Cluster.

        Args:
            env: As for `fork`.
            weight: As for `fork`.
            place: Its slot, from 0 on, or an agent's name; None: a new slot.
            target: The target of this worker, in place of the one in the settings.
            args: Its arguments, likewise; None: those in the settings.
            term: What an agent needs to know of the lease that it has in the fleet.
            timeout: Seconds that a fork server may take; None: no limit.
        """
        if self._is_left:
            raise StoppingError(_ENDING)
        if not self._is_open:
            raise ClusterError("fork() works only inside `async with Primary(…)`")
        settings = self.settings if target is ... else replace(self.settings, target=target)
        if args is not None:
            settings = replace(settings, args=args)
        named = self._name(settings)
        worker_id = self._last_id = self._last_id + 1
        place = self._free_slot() if place is None else place
        identity = Identity(worker_id, place, weight, MappingProxyType(dict(env or {})))
        config = self._config(settings, named, identity, token=None if term is None else term.token)
        config.encode()  # what can't be packed is refused before there is a process
        try:
            common = variables_for(settings.env, identity.slot)
        except (TypeError, ValueError) as error:
            raise StartupError(str(error)) from error
        own = identity.env
        if callable(settings.env):
            common, own = {}, {**common, **own}
        whole = environment(common, own, worker_id, identity.slot)
        with open_channel() as (ours, theirs), open_channel() as (side, far_side), ExitStack() as undo:
            self._starting[worker_id] = place
            undo.callback(self._starting.pop, worker_id)
            if settings.start_method == "spawn":
                child = spawn(settings, whole, theirs, self._relays, self._shared.folders, place)
            else:
                child = await self._fork_server(settings, named).fork(
                    whole, theirs, place=place, stdin=settings.stdin, silent=settings.silent, timeout=timeout
                )
            undo.callback(self._discard, child)
            if not self._is_open:  # it was closed while the fork server forked
                raise StoppingError("this Primary has been left")
            channel = Channel(ours, limit=MAX_FRAME_OF_PEER)
            undo.callback(channel.close)
            channel.send(config.with_peers(self._shared.router.peers, self._shared.router.remotes).encode())
            fd = os.dup(far_side.fileno())
            channel.send(SideChannel().encode(), [fd], partial(os.close, fd))
            if term is not None:
                fd = os.dup(term.fd)
                channel.send(LeaseHeld().encode(), [fd], partial(os.close, fd))
            session = Session(identity, child, channel, self._shared, settings, side)
            undo.pop_all()
            del self._starting[worker_id]
        self._shared.router.add(session)
        self._workers[worker_id] = self._by_pid[session.pid] = session.worker
        self._streams.update(stream for stream in (session.stdout, session.stderr) if stream is not None)
        self._all_gone.clear()
        return session.worker

    def _config(
        self, settings: Settings, target: TargetName, identity: Identity | None, *, token: int | None = None
    ) -> WorkerConfig:
        """Returns the worker config, the first frame to a worker or a fork server. It has no peers yet.

        Args:
            settings: The settings.
            target: What it runs.
            identity: The worker's ids; None for a fork server.
            token: The fencing token of the lease that it has in the fleet.
        """
        slot = None if identity is None else identity.slot
        return WorkerConfig(
            target=target,
            cluster=self._cluster_name,
            args=list(settings.args),
            argv=[str(argument) for argument in sys.argv] or [""],
            path=self._shared.folders.path(),
            uid=settings.uid,
            gid=settings.gid,
            loop=settings.loop,
            preload=list(settings.preload),
            primary_pid=os.getpid(),
            graceful_timeout=settings.graceful_timeout,
            heartbeat=settings.heartbeat,
            may_rest=settings.hang_timeout is None,
            slot=slot,
            name=None if identity is None else identity.name,
            cpu=cpu_for(slot) if settings.pin_cpus and slot is not None else None,
            tells_failure=self._relays.stderr.presentation is None and not settings.reload_on_change,
            state=self._state_url,
            peers={},
            fleet=settings.fleet,
            host=self._shared.host,
            token=token,
            remotes=[],
            app_address=self._app_address,
            slow_loop=settings.slow_loop,
            times_waits=self._shared.ports.waits is not None,
        )

    def _free_slot(self) -> int:
        """Returns the lowest number that is no slot of a worker at work, and none that a Cluster fills."""
        taken = {session.identity.place for session in self._all_sessions() if not session.life.is_over}
        taken.update(self._starting.values())
        return next(slot for slot in itertools.count(self._slots()) if slot not in taken)

    def _discard(self, child: Child) -> None:
        """Ends a process that has become no worker, because its start failed."""
        self._close_later(child.discard())

    def _close_later(self, closing: Coroutine[Any, Any, None]) -> None:
        """Runs this in a task that `__aexit__` awaits."""
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _fork_server(self, settings: Settings, target: TargetName) -> ForkServer:
        """Returns the fork server for these settings and this target; starts it if there is none."""
        how = (_interpreter(settings), target)
        fork_server = self._fork_servers.get(how)
        if fork_server is None or not fork_server.is_usable:
            config = self._config(settings, target, None)
            fork_server = self._fork_servers[how] = ForkServer(
                settings, config, self._relays, self._shared.folders, self._fork_server_has_counted
            )
            self._all_fork_servers = [one for one in self._all_fork_servers if not one.is_gone]
            self._all_fork_servers.append(fork_server)
        return fork_server

    def _fork_server_has_counted(self, report: bytes) -> None:
        if self._shared.numbers is not None:
            self._shared.numbers.counted_before_forks(report)

    def _retire_fork_servers(self, is_outdated: Callable[[Hashable, TargetName], bool]) -> None:
        """Has no later fork use these fork servers. Each ends when its last worker has ended."""
        for how in [how for how in self._fork_servers if is_outdated(*how)]:
            self._fork_servers.pop(how).retire()

    def _renew_fork_servers(self) -> None:
        """Retires all fork servers, so that later forks use new ones, which import the current code."""
        self._retire_fork_servers(lambda interpreter, target: True)

    def _on_gone(self, session: Session) -> None:
        del self._workers[session.identity.id]
        if self._by_pid.get(session.pid) is session.worker:
            del self._by_pid[session.pid]
        self._close_later(session.close())
        if not self._workers:
            self._all_gone.set()

    async def disconnect(self, *, timeout: float | None = None) -> None:
        """Tells all workers to leave, and returns when they are gone; see `WorkerProcess.disconnect`.

        First the ports that workers have opened are closed: clients that have been let in are still served.
        """
        await self._shared.ports.drain(users=False)
        for session in self._all_sessions():
            session.tell_to_leave(self.settings.graceful_timeout if timeout is None else timeout)
        await self._all_gone.wait()

    def _stats(self) -> tuple[tuple[WorkerStats, ...], tuple[PortStats, ...]]:
        """Returns the current numbers of the workers and of the shared ports."""
        workers = tuple(session.stats() for session in self._all_sessions())
        return workers, self._shared.ports.stats()

    # ---- ports and messages

    async def listen(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        path: str | None = None,
        mode: int | None = None,
        backlog: int = 100,
        scheduling: Any = None,
    ) -> Address:
        """Opens a shared port before any worker asks for it. Workers that ask for it later get this one.

        Args:
            host: An address or a name; of a name, the first address is used. None: all IPv4 addresses.
            port: The port number. 0 or None: a free port, a different one for each call. Workers that ask for port 0
                get the first of these, and the second when they ask again.
            path: A Unix socket's path, instead of host and port. This process binds it, with its own rights; the file
                belongs to the ``uid`` and ``gid`` in the settings.
            mode: The permissions of a Unix socket's file, such as ``0o660``; None: those that the umask leaves.
            backlog: How many connections the kernel queues (listen(2)).
            scheduling: The policy; None: the one in the settings.

        Raises:
            OSError: The port can't be opened.
            OverflowError: The port is not within 0-65535.
            ValueError: Both a path and a host or port are given, or there is no such policy.
        """
        if path is not None:
            if host is not None or port is not None:
                raise ValueError("path can't be combined with host and port")
            endpoint = Endpoint(socket.AF_UNIX, socket.SOCK_STREAM, path=whole_path(path))
        else:
            found = await addresses(
                asyncio.get_running_loop(),
                host or "0.0.0.0",
                port_number(port or 0),
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
            family, kind, _, _, address = found[0]
            endpoint = self._shared.ports.another(Endpoint.of(family, kind, address))
        opened = self._shared.ports.open(
            endpoint,
            backlog=backlog,
            scheduling=scheduling,
            default=self.settings.scheduling,
            mode=mode,
            uid=self.settings.uid,
            gid=self.settings.gid,
        )
        self._shared.ports.listen(opened)
        opened.is_users = True
        return opened.address

    async def listen_fd(self, fd: int, *, scheduling: Any = None) -> Address:
        """Makes an open listening socket of this process a shared port. Workers that ask for its address get it.

        Args:
            fd: The socket's descriptor, such as one from systemd (`inherited_descriptors`). The caller still owns it.
            scheduling: The policy; None: the one in the settings.

        Raises:
            OSError: It is not a listening socket.
        """
        endpoint = Endpoint(socket.AF_UNSPEC, socket.SOCK_STREAM, fd=fd)
        opened = self._shared.ports.open(endpoint, backlog=100, scheduling=scheduling, default=self.settings.scheduling)
        self._shared.ports.listen(opened)
        opened.is_users = True
        return opened.address

    async def send(self, pid: int, message: Any, handles: Iterable[Any] = ()) -> None:
        """Sends a message to the worker with this pid; see `WorkerProcess.send`.

        Raises:
            WorkerNotFoundError: There is none.
        """
        await self.worker(pid).send(message, handles)

    async def broadcast(self, message: Any) -> None:
        """Sends a message to every worker except agents. Waits until the slowest worker has room for it.

        One that has no room, and has acknowledged nothing for 30 seconds, does not get it, which is logged: it is
        stopped, or blocked, or runs no event loop.
        """
        body = pack(message)
        workers = (session for session in self._all_sessions() if session.identity.name is None)
        await send_to_all([session.conversation.send_window for session in workers], body)

    def _unreachable(self, error: BackplaneError | None) -> None:
        """Notes why the fleet can't be reached; None: it can, or there is none."""
        self._fleet_error = error
        if self._topics is not None:
            self._topics.unreachable = error

    def _begin_topics(self) -> Topics:
        if self._is_left:
            raise ChannelClosedError("the primary has been left: nothing can be published, and nothing subscribed to")
        if not self._is_open:
            raise ClusterError("publish() and subscribe() work only inside `async with`")
        self._own_topics = OwnTopics(self._shared.topics, self._hub)
        self._topics = self._own_topics.topics
        self._topics.unreachable = self._fleet_error
        return self._topics


def _interpreter(settings: Settings) -> Hashable:
    """Returns the settings that a fork server is started with: workers for which these differ need another one."""
    return (
        str(settings.executable),
        settings.exec_args,
        tuple(sorted(variables_for(settings.env, None).items())),
        str(settings.cwd),
        settings.preload,
    )
