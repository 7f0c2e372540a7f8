"""A cluster as its control socket sees it: what may be asked of it, and the socket's life."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._control.claim import Claim, NameInUseError, claim, claim_free
from .._control.folders import runtime_folder
from .._control.server import ControlServer, Tell
from .._processes.environment import OWN
from .._processes.usage import usage
from .._wire.conversation import described
from ..errors import ClusterError, ReloadError, WorkerNotFoundError
from ..events import Exit, Fork, Listening, Online
from ..integrations.asgi import AsgiApp
from ..settings import Target
from ..stats import SlowLoop, WorkerStats
from .history import History

if TYPE_CHECKING:
    from .._primary.session import Session
    from .cluster import Cluster

logger = logging.getLogger("aiocluster.control")

_OF_ONE_PROCESS = OWN | {
    "_", "COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL",
    "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID", "WATCHDOG_PID", "WATCHDOG_USEC", "XDG_RUNTIME_DIR",
}  # fmt: skip
"""Variables that say something of one process and its terminal or service, so a reload does not take them over."""


class Control:
    """The control socket of a cluster, if the cluster has a name.

    Args:
        cluster: The cluster.
        name: The setting ``name``.

    Attributes:
        named_after: A name to take if the setting is None; if it is in use, the first free of NAME-2, NAME-3, …
        name: The name that it has got; None: none.
    """

    def __init__(self, cluster: Cluster, name: str | None) -> None:
        self.named_after: str | None = None
        self.name: str | None = name
        self._cluster = cluster
        self._history = History()
        self._started_at = 0.0
        self._is_up = asyncio.Event()
        self._is_heard = asyncio.Event()
        self._claim: Claim | None = None
        self._server: ControlServer | None = None

    # ---- its life

    def begin(self) -> None:
        """Opens the socket, if there is a name. Where that is not possible, the cluster does without.

        Raises:
            ClusterError: Another cluster has the name.
        """
        self._started_at = time.time()
        if self.name is None and self.named_after is None:
            return
        self._cluster.on("exit", self._on_exit)
        self._cluster.on("listening", self._on_listening)
        try:
            self._take_name(runtime_folder())
            assert self._claim is not None
            self._server = ControlServer(self, (ClusterError, ValueError, TypeError))
            self._server.open(self._claim.socket)
        except NameInUseError as error:
            raise ClusterError(str(error)) from None
        except OSError as error:
            logger.debug("there is no control socket: %s", error)
            self._server = None
            self._release()
        except BaseException:
            self._release()
            raise

    def _take_name(self, folder: Path) -> None:
        about = {"target": self._target, "started_at": _iso(self._started_at)}
        if self.name is not None:
            self._claim = claim(folder, self.name, about)
        elif self.named_after is not None:
            self.name, self._claim = claim_free(folder, self.named_after, about)

    def up(self) -> None:
        """Says that the first workers are online."""
        self._is_up.set()

    async def end(self, error: BaseException | None) -> None:
        """Closes the socket.

        Args:
            error: Why the cluster has ended, if it has failed.
        """
        self._cluster.off("exit", self._on_exit)
        self._cluster.off("listening", self._on_listening)
        if self._server is not None:
            server, self._server = self._server, None
            server.shut()
            self._release()
            await server.close(None if error is None else described(error)[1] or type(error).__name__)

    def _release(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def _on_exit(self, event: Exit) -> None:
        worker = event.worker
        slot = worker.slot if worker.name is None else worker.name
        number = None if event.signal is None else event.signal.name
        self._history.ended(-1 if slot is None else slot, event.reason, event.code, number, worker.pid, time.time())

    def _on_listening(self, event: Listening) -> None:
        self._is_heard.set()

    # ---- what may be asked of it

    def watch(self, tell: Tell) -> Callable[[], None]:
        """Calls ``tell`` with what happens to workers, until the returned function is called."""

        def on_event(event: Fork | Online | Listening | Exit) -> None:
            tell(_told(event))

        cluster = self._cluster
        cluster.on("fork", on_event)
        cluster.on("online", on_event)
        cluster.on("listening", on_event)
        cluster.on("exit", on_event)

        def stop() -> None:
            cluster.off("fork", on_event)
            cluster.off("online", on_event)
            cluster.off("listening", on_event)
            cluster.off("exit", on_event)

        return stop

    async def wait_up(self, seconds: float) -> None:
        """Returns when the first workers are online and one listens, or so many seconds later."""
        await self._is_up.wait()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._is_heard.wait()
        except TimeoutError:
            pass

    async def reload(self, env: dict[str, str] | None) -> None:
        """Replaces all workers, with these variables added to this process's environment.

        If it fails, the environment is as before.
        """
        before = {name: os.environ.get(name) for name in env or ()}
        _add_to_environment(env or {})
        try:
            with self._failure_logged():
                await self._cluster.reload()
        except ReloadError:
            _add_to_environment(before)
            raise

    async def scale(self, low: int, high: int) -> None:
        """Changes the number of workers."""
        with self._failure_logged():
            await self._cluster.scale(low if low == high else (low, high))

    async def resize(self, by: int) -> None:
        """Changes the number of workers by so many."""
        with self._failure_logged():
            await self._cluster._resize(by)

    @contextlib.contextmanager
    def _failure_logged(self) -> Iterator[None]:
        """Logs an error with the traceback of the worker: who has asked is told in one line."""
        try:
            yield
        except ClusterError as error:
            logger.log(logging.INFO if self._cluster._reconciler.is_stopping else logging.ERROR, "%s", error)
            raise

    def stop(self, graceful: bool) -> None:
        """Begins to stop, as a signal does. Asked twice, it is still graceful, unlike at a second signal."""
        signals = self._cluster._signals
        if not graceful:
            signals.hear(signal.SIGQUIT)
        elif not signals.has_ended_it and not self._cluster._reconciler.is_stopping:
            signals.hear(signal.SIGTERM)

    async def inspect(self, place: int | str | None, what: str, seconds: float, rate: float) -> dict[str, Any]:
        """Looks inside the worker of that slot, or the agent of that name; see `protocol.Inspect`. None: inside all.

        During a reload two workers may share a slot; then the newer one is meant.

        Raises:
            WorkerNotFoundError: There is no such slot or agent.
        """
        sessions = {one._session.identity.place: one._session for one in self._cluster._primary.workers.values()}
        if place is None:
            meant = list(sessions.values())
        elif place in sessions:
            meant = [sessions[place]]
        else:
            there = ", ".join(sorted(map(str, sessions))) or "none"
            raise WorkerNotFoundError(f"no worker has the slot {place!r}: there are {there}")
        found = await asyncio.gather(*(_inspected(one, what, seconds, rate) for one in meant))
        return {"workers": list(found)}

    # ---- what it tells

    @property
    def _target(self) -> str:
        return _named(self._cluster._primary.settings.target)

    def describe(self) -> dict[str, Any]:
        """Returns all that is known, as JSON carries it. Sizes are in bytes, durations in seconds, times in UTC."""
        cluster = self._cluster
        stats = cluster.stats()
        settings = cluster._primary.settings
        own = usage(os.getpid())
        return {
            "name": self.name,
            "pid": os.getpid(),
            "target": self._target,
            "args": list(settings.args),
            "cwd": cluster._primary._shared.folders.cwd(settings.cwd),
            "python": platform.python_version(),
            "executable": sys.executable,
            "version": _version(),
            "started_at": _iso(self._started_at),
            "age": max(0.0, time.time() - self._started_at),
            "state": self._state,
            "addresses": list(dict.fromkeys(str(port.address) for port in stats.ports)),
            "policy": _named(settings.scheduling),
            "bounds": list(stats.bounds),
            "restarts": stats.restarts,
            "last_restart": self._history.last_restart,
            "cpu_seconds": own.cpu_seconds if own else None,
            "memory": own.memory if own else None,
            "ports": [
                {
                    "address": str(port.address),
                    "policy": port.scheduling,
                    "accepted": port.accepted,
                    "waiting": port.waiting,
                }
                for port in stats.ports
            ],
            "workers": [self._describe(worker) for worker in stats.workers],
        }

    @property
    def _state(self) -> str:
        reconciler = self._cluster._reconciler
        if reconciler.given_up is not None:
            return "given up"
        if reconciler.is_stopping:
            return "stopping"
        if not self._is_up.is_set():
            return "starting"
        return "reloading" if reconciler.is_reloading else "running"

    def _describe(self, worker: WorkerStats) -> dict[str, Any]:
        used = usage(worker.pid)
        ends = self._history.of(worker.name if worker.name is not None else -1 if worker.slot is None else worker.slot)
        return {
            "slot": worker.slot,
            "name": worker.name,
            "pid": worker.pid,
            "state": worker.state,
            "age": worker.age,
            "cpu_seconds": used.cpu_seconds if used else None,
            "memory": used.memory if used else worker.memory,
            "busy": worker.busy,
            "loop_delay": worker.loop_delay,
            "tasks": worker.tasks,
            "connections": worker.connections,
            "taken": worker.accepted,
            "messages": worker.messages,
            "slow": worker.slow,
            "last_slow": _slow(worker.last_slow),
            "restarts": ends.restarts,
            "last_exit": ends.last,
        }


def _told(event: Fork | Online | Listening | Exit) -> dict[str, Any]:
    worker = event.worker
    assert worker is not None  # None only in a worker
    told: dict[str, Any] = {"event": event.name, "slot": worker.slot, "name": worker.name, "pid": worker.pid}
    if isinstance(event, Listening):
        told["address"] = str(event.address)
    if isinstance(event, Exit):
        told |= {"reason": event.reason, "code": event.code, "signal": event.signal and event.signal.name}
    return told


async def _inspected(session: Session, what: str, seconds: float, rate: float) -> dict[str, Any]:
    who: dict[str, Any] = {"slot": session.identity.slot, "name": session.identity.name, "pid": session.pid}
    try:
        return who | {"found": await session.side.inspect(what, seconds, rate)}
    except ClusterError as error:
        return who | {"error": str(error)}


def _slow(last: SlowLoop | None) -> dict[str, Any] | None:
    return None if last is None else {"seconds": last.seconds, "where": last.where, "at": _iso(last.at)}


def _add_to_environment(variables: Mapping[str, str | None]) -> None:
    for name, text in variables.items():
        if name in _OF_ONE_PROCESS:
            continue
        if text is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = text


def _named(what: Target | object) -> str:
    if what is None:
        return sys.argv[0]
    if isinstance(what, AsgiApp):
        return what.app
    if isinstance(what, (str, os.PathLike)):
        return os.fsdecode(what)
    kind = what if hasattr(what, "__qualname__") else type(what)
    return f"{kind.__module__}:{kind.__qualname__}"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("aiocluster")
    except PackageNotFoundError:
        return "unknown"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
