"""The settings: one table, `Settings`, checked once.

Each row has a setting's name, type and default, its check, and the code that reads it:

    fork      `Primary.fork` and what it calls, to start a worker
    port      shared ports, when they are opened
    leave     the code that tells a worker to leave
    cluster   only `Cluster`, while it runs; a `Primary` has no such setting
    start     only `Cluster`, when it is made or entered; so these alone can't be changed by ``setup()``

`PrimarySettings`, `ClusterSettings`, `SetupSettings` and `ClusterSetupSettings` describe the table to type checkers.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, get_args

from ._bind import parse_bind
from ._checks import low_and_high, number, sequence, whole_number, without_nul
from ._did_you_mean import did_you_mean
from .integrations.asgi import AsgiApp
from .scheduling import _registry

StrPath: TypeAlias = str | os.PathLike[str]
Target: TypeAlias = Callable[..., Any] | StrPath | AsgiApp | None
Loop: TypeAlias = Literal["auto", "asyncio", "uvloop"]
Workers: TypeAlias = int | tuple[int, int] | Literal["auto"]
StartMethod: TypeAlias = Literal["spawn", "template"]


class HasFileno(Protocol):
    """An object with a descriptor, such as an open file or a socket."""

    def fileno(self) -> int: ...


Env: TypeAlias = Mapping[str, str] | Callable[[int], Mapping[str, str]] | None
Stdin: TypeAlias = Literal["inherit"] | int | HasFileno | None


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When workers that end unexpectedly are replaced, and when to give up.

    Attributes:
        limit: How many workers may end unexpectedly within ``period``. After one more, none are replaced.
        period: Seconds.
        backoff: The shortest and the longest wait before a replacement, in seconds. The first one starts after the
            shortest. Each further one within ``period`` waits twice as long, with jitter.

    Raises:
        ValueError: A number is out of its range. The text names it.
        TypeError: A value is not a number. The text names it.
    """

    limit: int = 10
    period: float = 60.0
    backoff: tuple[float, float] = (0.0, 5.0)

    def __post_init__(self) -> None:
        whole_number("limit", self.limit, at_least=0)
        number("period", self.period, above=0, unit="seconds", infinite=True)
        if not isinstance(self.backoff, Sequence) or len(self.backoff) != 2:
            raise TypeError(f"backoff must be two numbers of seconds, not {self.backoff!r}")
        shortest, longest = (
            number("backoff", wait, at_least=0, unit="seconds", infinite=True) for wait in self.backoff
        )
        if shortest > longest:
            raise ValueError(f"backoff must be two numbers of seconds, the shorter first, not {self.backoff!r}")


# ---- the checks: each returns the value to keep, or raises TypeError or ValueError with a text that names the setting

_Check = Callable[[str, Any], Any]


def _optional(check: _Check) -> _Check:
    return lambda name, value: None if value is None else check(name, value)


def _is(kind: type, what: str) -> _Check:
    def check(name: str, value: object) -> object:
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be {what}, not {value!r}")
        return value

    return check


def _each(kinds: tuple[type, ...], what: str) -> _Check:
    return lambda name, value: sequence(name, value, kinds, what)


def _one_of(choices: tuple[str, ...]) -> _Check:
    def check(name: str, value: object) -> object:
        if value not in choices:
            error = ValueError if isinstance(value, str) else TypeError
            raise error(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
        return value

    return check


def _anything(name: str, value: object) -> object:
    return value  # the target: `name_target` checks whether workers can find it


def _path(name: str, value: object) -> StrPath:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {value!r}")
    without_nul(name, os.fspath(value))
    return value


def _stdin(name: str, value: Any) -> object:
    if value is None or value == "inherit":
        return value
    if isinstance(value, (str, bytes, bool)) or not (isinstance(value, int) or hasattr(value, "fileno")):
        raise TypeError(f'{name} must be None, "inherit", an open file or a descriptor, not {value!r}')
    try:
        os.fstat(value if isinstance(value, int) else value.fileno())
    except (OSError, ValueError, OverflowError):
        raise ValueError(f"{name} is not open: {value!r}") from None
    return value


def _folder(name: str, value: object) -> StrPath:
    if not os.path.isdir(folder := _path(name, value)):
        raise ValueError(f"{name}: there is no folder {os.fspath(folder)!r}")
    return folder


def _program(name: str, value: object) -> StrPath:
    is_below_cwd = not os.path.isabs(program := _path(name, value)) and os.path.dirname(program)
    if not is_below_cwd and shutil.which(os.fspath(program)) is None:
        raise ValueError(f"{name}: there is no program {os.fspath(program)!r}")
    return program


def variables(name: str, value: object) -> Mapping[str, str]:
    """Returns a read-only copy of the environment variables ``value``, or raises TypeError or ValueError."""
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise TypeError(f"{name} must be a mapping of str to str, not {value!r}")
    for variable, text in value.items():
        if not variable or "=" in variable:
            raise ValueError(f"{name}: {variable!r} can't be the name of an environment variable")
        without_nul(name, variable)
        without_nul(f"{name}[{variable!r}]", text)
    return MappingProxyType(dict(value))


def _env(name: str, value: object) -> object:
    if isinstance(value, Mapping):
        return variables(name, value)
    if not callable(value) or inspect.iscoroutinefunction(value):
        what = "a mapping of str to str, or a function of the slot that returns one and is not async"
        raise TypeError(f"{name} must be {what}, not {value!r}")
    return value


def _pin_cpus(name: str, value: object) -> object:
    if _is(bool, "True or False")(name, value) and not hasattr(os, "sched_setaffinity"):
        raise ValueError(f"{name} needs sched_setaffinity(2), which this system does not have: leave it out")
    return value


def _restart(name: str, value: object) -> RestartPolicy | None:
    if value is None or value is False:
        return None
    if not isinstance(value, RestartPolicy):
        raise TypeError(f"{name} must be a RestartPolicy, or False (nobody is replaced), not {value!r}")
    return value


def _loop(name: str, value: object) -> object:
    if _one_of(get_args(Loop))(name, value) == "uvloop" and "uvloop" not in sys.modules and not find_spec("uvloop"):
        raise ValueError("loop='uvloop' needs uvloop, which is not installed: pip install uvloop")
    return value


def _scheduling(name: str, value: object) -> object:
    if value is None:
        value = os.environ.get("AIOCLUSTER_SCHEDULING") or _registry.DEFAULT
    _registry.check(value)
    return value


def _workers(name: str, value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, str):
        raise TypeError(f'{name} must be a whole number from 1 on, or "auto", not {value!r}')
    return low_and_high(name, value)


def _weights(name: str, value: object) -> tuple[int, ...]:
    return tuple(whole_number(name, weight, at_least=1) for weight in _each((int,), "whole numbers")(name, value))


def _cluster_name(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {value!r}")
    if _CLUSTER_NAME.fullmatch(value) is None:
        raise ValueError(
            f"{name} must be 1 to 64 letters, digits, '.', '_' and '-', and start with a letter or digit, not {value!r}"
        )
    return value


_CLUSTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""It becomes the name of files."""


def _state(name: str, value: object) -> str:
    if value is None:
        value = os.environ.get("AIOCLUSTER_STATE") or "memory:"
    if not isinstance(value, str):
        raise TypeError(f'{name} must be a URL such as "memory:" or "sqlite:///state.db", not {type(value).__name__}')
    without_nul(name, value)
    return value


def _agents(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(agent, str) for agent in value):
        raise TypeError(f"{name} must be a mapping of names to targets, not {value!r}")
    return MappingProxyType(dict(value))


def _redis_url(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be the URL of a Redis, not {type(value).__name__}")
    without_nul(name, value)
    return value


def _watched(name: str, value: Any) -> tuple[Any, ...]:
    paths = _each((str, os.PathLike), "paths")(name, value)
    if paths and find_spec("watchfiles") is None:
        raise ValueError(f"{name} needs watchfiles, which is not installed: pip install aiocluster[watch]")
    for path in paths:
        if not os.path.exists(path):
            raise ValueError(f"{name}: there is no {os.fspath(path)}")
    return tuple(paths)


def _listens_at(name: str, value: object) -> object:
    if not isinstance(value, str):
        raise TypeError(f'{name} must be an address such as "127.0.0.1:9000" or "unix:/path", not {value!r}')
    without_nul(name, value)
    if parse_bind(name, value, 0).fd is not None:
        raise ValueError(f"{name} can't be a descriptor, as {value!r} is: the primary binds an address of its own")
    return value


def _metrics_at(name: str, value: object) -> object:
    if "prometheus_client" not in sys.modules and find_spec("prometheus_client") is None:
        raise ValueError(f"{name} needs prometheus-client, which is not installed: pip install aiocluster[metrics]")
    return _listens_at(name, value)


_strings = _each((str,), "str")
_seconds = partial(number, at_least=0, unit="seconds")
_some_seconds = partial(number, above=0, unit="seconds")
_id = partial(whole_number, at_least=0)
_count = partial(whole_number, at_least=1)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent, for `Cluster(agents={"name": Agent(…)})`; a target in its place is one without arguments.

    Attributes:
        target: What it runs; see `Settings`.
        args: As in `Settings`, for this agent alone.
        env: Environment variables to add for this agent alone.
        once: ``"cluster"``: one in this cluster. ``"fleet"``: one among all clusters of the fleet, for as long as one
            holds a lease in Redis. Its ``current_worker().fencing_token`` is higher than that of each one before.

    Raises:
        ValueError: A value is out of its range. The text names it.
        TypeError: A value is of the wrong type. The text names it.
    """

    target: Target
    args: Sequence[str] = field(default=(), kw_only=True)
    env: Mapping[str, str] | None = field(default=None, kw_only=True)
    once: Literal["cluster", "fleet"] = field(default="cluster", kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "args", _strings("args", self.args))
        object.__setattr__(self, "env", None if self.env is None else variables("env", self.env))
        _one_of(("cluster", "fleet"))("once", self.once)


# ---- the table


def _setting(default: Any, check: _Check, reader: str, *, is_shown: bool = True) -> Any:
    return field(default=default, metadata={"check": check, "reader": reader}, repr=is_shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a `Primary` or a `Cluster`.

    Attributes:
        target: What a worker runs; see the table of targets in the documentation. None: the main script.
        args: ``sys.argv[1:]`` of a script or a module, and what a function is called with. A function without
            parameters finds them in ``sys.argv[1:]``, too. Without ``args``, functions and the main script see the
            primary's ``sys.argv``.
        env: Environment variables to add to the primary's own. Or a function that is called with a worker's slot and
            returns them: in the primary, at each fork, and for all slots when a `Cluster` is made. It is not called
            for agents. An error of the function is a failed start.
        cwd: The working directory, which must exist. None: the primary's own.
        stdin: What workers read as their standard input: an open file or a descriptor, which they all share, or
            ``"inherit"``, the primary's own. None: nothing (the null device).
        executable: The interpreter: a path, or a name that is looked for in ``PATH``. None: the primary's own.
        exec_args: Arguments of the interpreter, such as ``("-X", "dev")``. They come after the primary's own.
        pin_cpus: Whether each worker runs on one CPU only, and so do the processes that it starts. Slots take in turn
            those CPUs that the primary may use when it forks. Agents are not pinned. Linux only (sched_setaffinity(2)).
        silent: Whether ``stdout`` and ``stderr`` are streams of the `WorkerProcess`. Otherwise stdout is the primary's
            own, and the primary passes stderr on to its own, in whole lines.
        uid: The user id that workers run as. The primary must have the right to change it.
        gid: The group id that workers run as. The primary must have the right to change it. None: where root starts
            them as another ``uid``, that user's own group (passwd(5)). Workers are in no other group of root's.
        loop: The event loop of async targets: ``"auto"`` (uvloop if it is installed), ``"uvloop"`` or ``"asyncio"``.
        start_method: ``"spawn"``: a fresh interpreter for each worker. ``"template"``: workers are forked from a fork
            server, which has imported ``preload`` and the target's module, and share its memory.
        preload: Modules to import before the target.
        heartbeat: Seconds between two reports of a worker about its event loop; at most a quarter of ``hang_timeout``.
            Without ``hang_timeout``, a worker that has no connections and nothing to do for ten heartbeats rests: it
            reports thirty times less often, until a connection comes.
        slow_loop: Seconds, at least 0.01. An event loop that is blocked for longer is reported while it still is
            blocked, with the line of code that blocks it: in the log and by the event ``slow``. A thread in the worker
            wakes the loop up four times in that time. None: nobody watches, and there is no such thread.
        scheduling: The policy by which a new connection gets its worker. None: ``AIOCLUSTER_SCHEDULING``, or
            ``least_busy``.
        graceful_timeout: Seconds that a leaving or failed worker may take to finish its work.
        drain_delay: Seconds before a graceful stop begins. All clients are still served meanwhile, so that a load
            balancer has time to send them elsewhere. A reload has no such delay. A second SIGINT or SIGTERM skips it.
        workers: How many workers to run. ``"auto"``: one per CPU that this process may use, by affinity and cgroup.
            ``(low, high)``: as many as the load needs, within these bounds.
        weights: One whole number per worker; with bounds, as many as the higher one. A worker of weight 2 gets twice as
            many connections as one of weight 1. The default policy is then ``"weighted_round_robin"``. A policy that
            has no weights is refused.
        restart: When workers that end unexpectedly are replaced. None or False: never; `Cluster.serve_forever` returns
            when no worker is left.
        agents: Further targets by name, for work that must be done once in the whole cluster. Each runs in one process
            of its own, started before the workers and restarted like them. Workers reach it with ``send_to(name, …)``.
        start_timeout: Seconds a worker may take to come online.
        hang_timeout: Seconds an event loop may be blocked. Then the worker's stacks are written to its stderr, and it
            is killed and replaced. None: no limit.
        max_memory: Bytes of resident memory a worker may use before it is replaced gracefully. None: no limit.
        max_lifetime: Seconds a worker may live before it is replaced gracefully. None: no limit.
        max_connections: Connections a worker may take before it is replaced gracefully. None: no limit.
        reload_on_change: Files and folders to watch, for development. When one of these files changes, or a Python file
            in one of these folders, all workers are replaced at once, and then the agents. The old ones stay until the
            new ones can work. If the new code can't start, or ends before it listens, the cluster waits for the next
            change. This also holds for the first start: entering the `Cluster` returns once the code has been
            corrected. Needs the extra ``watch``.
        reload_include: Glob patterns of files in these folders that count beside ``*.py``, such as ``"*.html"``.
        reload_exclude: Glob patterns of files and folders in these folders that do not count. Caches, virtual
            environments and names that begin with a dot never count.
        backplane: The Redis by which this cluster is one of a fleet of clusters: ``"redis://host:6379/0"``, and also
            ``rediss://``, ``unix://``, ``redis+sentinel://`` and ``redis+cluster://``. None: ``AIOCLUSTER_BACKPLANE``.
            Needs ``fleet`` and the extra ``redis``.
        fleet: The name of that fleet: the clusters with the same backplane and name. None: ``AIOCLUSTER_FLEET``.
        fleet_lease: Seconds after which a cluster that the fleet has not heard of counts as gone, and its leases are
            free. Set it to the same value in all clusters of a fleet.
        health: Where the primary answers health checks over HTTP: ``"127.0.0.1:9000"``, ``"[::1]:9000"``, ``":9000"``
            (all interfaces, IPv4 and IPv6) or ``"unix:/path"``. ``/live`` is 200 while the primary's loop answers.
            ``/ready`` is 200 when every slot up to the lower bound has once been online (listening, if the application
            listens), and while at least one still is. It is 503 from the beginning of a stop, ``drain_delay`` included,
            and when the cluster has given up. Neither a reload nor one crash changes it. A worker that opens no port
            counts ``start_timeout`` seconds after it came online. None: nowhere.
        metrics: Where the primary answers ``/metrics`` over HTTP, written like ``health``: one page of Prometheus
            metrics for all workers, see `aiocluster.metrics`. Needs the extra ``metrics``. None: nowhere.
        systemd: Whether this cluster is the service that systemd has started: it opens the sockets that systemd passes
            to this process, and tells it ``READY=1``, ``RELOADING=1``, ``STOPPING=1``, its status, and ``WATCHDOG=1``.
            Without systemd it changes nothing. The command ``aiocluster`` sets it.
        name: The name by which the command finds the cluster (``aiocluster list``, ``reload NAME`` and so on), through
            a socket in the user's runtime folder. None: it has no such socket. Where there is no such folder, or it
            can't be written, the cluster runs without.
        state: Where the state is kept that all workers share, as a URL. ``"memory:"``: in a process of the cluster, for
            as long as that runs. ``"sqlite:///state.db"``: by such a process in a file; after three slashes a path from
            ``cwd``, after four one from the root. ``"redis://…"``, ``"rediss://…"``, ``"unix://…"``: in a Redis. None:
            what the environment variable ``AIOCLUSTER_STATE`` says, or ``"memory:"``.

    Raises:
        ValueError: A setting is out of its range. The text names it.
        TypeError: A setting is of the wrong type. The text names it and every other setting that is wrong.
    """

    target: Target = _setting(None, _anything, "fork")
    args: Sequence[str] = _setting((), _strings, "fork")
    env: Env = _setting(None, _optional(_env), "fork")
    cwd: StrPath | None = _setting(None, _optional(_folder), "fork")
    stdin: Stdin = _setting(None, _stdin, "fork")
    executable: StrPath | None = _setting(None, _optional(_program), "fork")
    exec_args: Sequence[str] = _setting((), _strings, "fork")
    pin_cpus: bool = _setting(False, _pin_cpus, "fork")
    silent: bool = _setting(False, _is(bool, "True or False"), "fork")
    uid: int | None = _setting(None, _optional(_id), "fork")
    gid: int | None = _setting(None, _optional(_id), "fork")
    loop: Loop = _setting("auto", _loop, "fork")
    start_method: StartMethod = _setting("spawn", _one_of(get_args(StartMethod)), "fork")
    preload: Sequence[str] = _setting((), _strings, "fork")
    heartbeat: float = _setting(1.0, _some_seconds, "fork")
    slow_loop: float | None = _setting(None, _optional(partial(number, at_least=0.01, unit="seconds")), "fork")
    scheduling: Any = _setting(None, _scheduling, "port")
    graceful_timeout: float = _setting(30.0, _seconds, "leave")
    workers: Workers = _setting("auto", _workers, "start")
    weights: Sequence[int] | None = _setting(None, _optional(_weights), "cluster")
    restart: RestartPolicy | Literal[False] | None = _setting(RestartPolicy(), _restart, "cluster")
    agents: Mapping[str, Target | Agent] | None = _setting(None, _optional(_agents), "start")
    drain_delay: float = _setting(0.0, _seconds, "cluster")
    start_timeout: float = _setting(30.0, _seconds, "cluster")
    hang_timeout: float | None = _setting(None, _optional(_some_seconds), "cluster")
    max_memory: int | None = _setting(None, _optional(_count), "cluster")
    max_lifetime: float | None = _setting(None, _optional(_some_seconds), "cluster")
    max_connections: int | None = _setting(None, _optional(_count), "cluster")
    reload_on_change: Sequence[StrPath] = _setting((), _watched, "cluster")
    reload_include: Sequence[str] = _setting((), _strings, "cluster")
    reload_exclude: Sequence[str] = _setting((), _strings, "cluster")
    backplane: str | None = _setting(None, _optional(_redis_url), "start", is_shown=False)
    fleet: str | None = _setting(None, _optional(_cluster_name), "start")
    fleet_lease: float = _setting(5.0, partial(number, at_least=0.5, unit="seconds"), "start")
    health: str | None = _setting(None, _optional(_listens_at), "cluster")
    metrics: str | None = _setting(None, _optional(_metrics_at), "cluster")
    systemd: bool = _setting(False, _is(bool, "True or False"), "start")
    name: str | None = _setting(None, _optional(_cluster_name), "start")
    state: str | None = _setting(None, _state, "start", is_shown=False)  # a URL may have a password

    def __post_init__(self) -> None:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        for name, value in _checked(values, []).items():
            object.__setattr__(self, name, value)

    def _changed(self, owner: Literal["Primary", "Cluster"], changes: Mapping[str, Any]) -> Settings:
        """Returns these settings with some of them replaced.

        Args:
            owner: The class that the settings are for.
            changes: The new values, by name.

        Raises:
            ValueError: A setting is out of its range.
            TypeError: There is no such setting, or it is of the wrong type. The text lists all errors.
        """
        names = _NAMES[owner]
        errors: list[TypeError | ValueError] = [
            TypeError(f"{owner} has no setting {name!r}{did_you_mean(name, names)}")
            for name in changes
            if name not in names
        ]
        known = {name: value for name, value in changes.items() if name in names}
        _checked(known, errors)
        return replace(self, **known)


class PrimarySettings(TypedDict, total=False):
    """The settings of a `Primary`; see `Settings`."""

    args: Sequence[str]
    env: Env
    cwd: StrPath | None
    stdin: Stdin
    executable: StrPath | None
    exec_args: Sequence[str]
    pin_cpus: bool
    silent: bool
    uid: int | None
    gid: int | None
    loop: Loop
    start_method: StartMethod
    preload: Sequence[str]
    heartbeat: float
    slow_loop: float | None
    scheduling: Any
    graceful_timeout: float


class _ClusterChanges(PrimarySettings, total=False):
    """The settings of a `Cluster` that can be changed later."""

    weights: Sequence[int] | None
    restart: RestartPolicy | Literal[False] | None
    drain_delay: float
    start_timeout: float
    hang_timeout: float | None
    max_memory: int | None
    max_lifetime: float | None
    max_connections: int | None
    reload_on_change: Sequence[StrPath]
    reload_include: Sequence[str]
    reload_exclude: Sequence[str]
    health: str | None
    metrics: str | None


class ClusterSettings(_ClusterChanges, total=False):
    """The settings of a `Cluster`; see `Settings`."""

    workers: Workers
    agents: Mapping[str, Target | Agent] | None
    backplane: str | None
    fleet: str | None
    fleet_lease: float
    systemd: bool
    name: str | None
    state: str | None


class SetupSettings(PrimarySettings, total=False):
    """The settings that `Primary.setup` changes; see `Settings`."""

    target: Target


class ClusterSetupSettings(_ClusterChanges, total=False):
    """The settings that `Cluster.setup` changes; see `Settings`."""

    target: Target


_CHECKS: Mapping[str, _Check] = {one.name: one.metadata["check"] for one in fields(Settings)}
_READERS: Mapping[str, str] = {one.name: one.metadata["reader"] for one in fields(Settings)}
_NAMES: Mapping[str, Collection[str]] = {
    "Primary": {name for name, reader in _READERS.items() if reader not in ("cluster", "start")},
    "Cluster": set(_READERS),
}
AT_THE_START = frozenset(name for name, reader in _READERS.items() if reader == "start")
"""The settings that ``setup()`` can't change."""


def check_setting(name: str, value: Any) -> Any:
    """Returns the value to keep for one setting.

    Raises:
        ValueError: It is out of its range. The text names the setting.
        TypeError: It is of the wrong type, likewise.
    """
    return _CHECKS[name](name, value)


def _checked(values: Mapping[str, Any], errors: list[TypeError | ValueError]) -> dict[str, Any]:
    """Returns the checked settings. If any is wrong, raises one error for all of them and for the given errors."""
    checked = {}
    for name, value in values.items():
        try:
            checked[name] = check_setting(name, value)
        except (TypeError, ValueError) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        kind = TypeError if any(isinstance(error, TypeError) for error in errors) else ValueError
        raise kind("\n".join([f"{len(errors)} settings are wrong:", *(f"    {error}" for error in errors)]))
    return checked
