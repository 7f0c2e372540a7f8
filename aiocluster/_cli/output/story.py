"""A cluster's story: its events as log records, one line each."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from ..._primary.reason import IN_WORDS
from ..._primary.worker_process import WorkerProcess
from ..._supervise.cluster import Cluster
from ..._wire.frames import AsgiTarget, ModuleTarget
from ...address import Address
from ...events import Exit, Listening, Online, Reason, Slow
from ...scheduling._registry import DEFAULT

logger = logging.getLogger("aiocluster.command")

_WEB_SERVERS = frozenset({"daphne", "hypercorn", "uvicorn"})
_TLS = ("ssl_", "certfile")  # how their options of TLS begin

_LISTENS_WITHIN = 1.0  # seconds after the workers are online; then the banner is shown without the addresses

_LEVELS: Final[Mapping[Reason, int]] = {
    "told": logging.DEBUG,  # by a reload, a scale or a stop, which are told themselves
    "own": logging.INFO,
    "limit": logging.INFO,
    "returned": logging.WARNING,
    "late": logging.WARNING,
    "failed": logging.ERROR,
    "killed": logging.ERROR,
    "hung": logging.ERROR,
}


class Story:
    """Tells what happens to a cluster. A context manager around the cluster's own.

    Args:
        cluster: The cluster.
        what: What it runs.
    """

    def __init__(self, cluster: Cluster, what: str) -> None:
        self._cluster = cluster
        self._what = what
        self._scheme = _scheme(cluster)
        self._online: set[int] = set()  # ids
        self._listening: set[int] = set()
        self._addresses: dict[str, None] = {}
        self._vacant: set[int | str] = set()  # the places of those that left unasked
        self._is_up = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._cluster.on("online", self._on_online)
        self._cluster.on("listening", self._on_listening)
        self._cluster.on("exit", self._on_exit)
        self._cluster.on("slow", self._on_slow)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop_waiting()
        self._cluster.off("online", self._on_online)
        self._cluster.off("listening", self._on_listening)
        self._cluster.off("exit", self._on_exit)
        self._cluster.off("slow", self._on_slow)
        if kind is None and self._is_up:
            logger.info("stopped", extra={"event": "stopped"})

    # ---- events

    def _on_online(self, event: Online) -> None:
        worker = event.worker
        self._tell(logging.DEBUG, "online", worker, "is online")
        place = _place(worker)
        if place in self._vacant:
            self._vacant.discard(place)
            self._tell(logging.INFO, "replaced", worker, "is in its place")
        if worker.name is None and not self._is_up:
            self._online.add(worker.id)
            if self._timer is None and self._are_online:
                self._timer = asyncio.get_running_loop().call_later(_LISTENS_WITHIN, self._up_if_online)
            self._up_if_all_listen()

    def _on_listening(self, event: Listening) -> None:
        worker, address = event.worker, event.address
        self._tell(logging.DEBUG, "listening", worker, f"listens on {address}", address=str(address))
        url = self._url(address, worker._session.serves_app)
        is_new = url not in self._addresses
        self._addresses[url] = None
        if self._is_up:
            if is_new:
                logger.info("listening on %s", url, extra={"event": "listening", "address": url})
        elif worker.name is None:
            self._listening.add(worker.id)
            self._up_if_all_listen()

    def _on_exit(self, event: Exit) -> None:
        worker, reason = event.worker, event.reason
        self._online.discard(worker.id)
        how = f"exit code {event.code}" if event.signal is None else event.signal.name
        level = _LEVELS[reason]
        if self._cluster._reconciler.given_up is not None:
            level = logging.DEBUG  # the command ends by saying why
        elif reason == "returned" and self._cluster._reconciler.is_stopping:
            level = logging.DEBUG  # Ctrl-C in a terminal reaches workers too: it was quicker than the word to leave
        elif level > logging.INFO and not self._cluster._reconciler.is_stopping:
            self._vacant.add(_place(worker))
        self._tell(
            level,
            "exit",
            worker,
            f"has left: {IN_WORDS[reason]} ({how})",
            code=event.code,
            signal=None if event.signal is None else event.signal.name,
            reason=reason,
        )

    def _on_slow(self, event: Slow) -> None:
        text = f"has had its event loop blocked for {event.seconds:.2f} s, at {event.where}"
        self._tell(logging.WARNING, "slow", event.worker, text, seconds=event.seconds, where=event.where)

    def _tell(self, level: int, event: str, worker: WorkerProcess, text: str, **fields: Any) -> None:
        extra = {"event": event, "slot": worker.slot, "agent": worker.name, "pid": worker.pid, **fields}
        extra = {name: value for name, value in extra.items() if value is not None or name in ("code", "signal")}
        logger.log(level, "%s (pid %d) %s", _who(worker), worker.pid, text, extra=extra)

    # ---- the banner

    @property
    def _are_online(self) -> bool:
        return len(self._online) >= self._cluster.stats().bounds[0]

    def _up_if_all_listen(self) -> None:
        if self._are_online and self._online <= self._listening:
            self._up()

    def _up_if_online(self) -> None:
        self._timer = None
        if self._are_online:
            self._up()

    def _up(self) -> None:
        """Shows the banner, once."""
        self._stop_waiting()
        if self._is_up or self._cluster._reconciler.is_stopping:
            return
        self._is_up = True
        low, high = self._cluster.stats().bounds
        count = f"{low} to {high} workers run" if low != high else f"{low} workers run" if low > 1 else "1 worker runs"
        fields: dict[str, Any] = {"event": "up", "workers": len(self._online), "addresses": list(self._addresses)}
        lines = [f"{count} {self._what} (pid {os.getpid()})", *self._addresses, *self._unusual()]
        logger.info("%s", "\n".join(lines), extra=fields)

    def _unusual(self) -> list[str]:
        """What differs from the default."""
        settings = self._cluster.primary.settings
        found = []
        if settings.start_method != "spawn":
            found.append(f"start method {settings.start_method}")
        if settings.scheduling != DEFAULT:
            policy = settings.scheduling
            found.append(f"scheduling {policy if isinstance(policy, str) else type(policy).__name__}")
        if self._cluster.agents:
            found.append(f"agents {', '.join(self._cluster.agents)}")
        return [", ".join(found)] if found else []

    def _url(self, address: Address, is_app: bool) -> str:
        kind = address.family.rstrip("46")
        if kind == "unix":
            return str(address)
        if kind == "tcp":
            # Whether it is an app, a worker finds out where the command line does not say it.
            kind = self._scheme or ("http" if is_app else "tcp")
        return f"{kind}://{address}"

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _scheme(cluster: Cluster) -> str | None:
    """Returns what its addresses speak: http or https if the settings tell that it runs an ASGI app or a web server."""
    target, settings = cluster.primary._named, cluster.primary.settings
    if isinstance(target, AsgiTarget):
        options: Iterable[str] = target.options
    elif isinstance(target, ModuleTarget) and target.module in _WEB_SERVERS:
        options = (argument.lstrip("-").replace("-", "_") for argument in settings.args)
    else:
        return None
    return "https" if any(option.startswith(_TLS) for option in options) else "http"


def _place(worker: WorkerProcess) -> int | str:
    return worker._session.identity.place


def _who(worker: WorkerProcess) -> str:
    return f"agent {worker.name}" if worker.name is not None else f"slot {worker.slot}"
