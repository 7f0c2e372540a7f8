"""The clusters that there are: those that run, and those that are remembered."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from typing import Any

from .claim import Claimed, find, forget
from .client import ControlError, describe
from .folders import existing_runtime_folders
from .memory import Memory, memories

_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Known:
    """A cluster.

    Attributes:
        name: Its name.
        claimed: The claim of its process; None: it has none, so it does not run.
        memory: What is remembered of it; None: it was not started in the background.
    """

    name: str
    claimed: Claimed | None
    memory: Memory | None

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.claimed is not None and self.claimed.is_alive

    @property
    def is_kept(self) -> bool:
        """Whether its keeper, if it has one, has yet to remember how it has ended."""
        return self.memory is not None and self.memory.exit is None and self.memory.is_held("keeper")

    @property
    def is_in_between(self) -> bool:
        """Whether it has not got its name yet, or has given it up and ends now."""
        return not self.is_alive and self.state in ("starting", "stopping")

    @property
    def state(self) -> str:
        """How it has ended: ``stopped``, ``failed`` or ``died``; or that it is about to. Only of one that has no name.

        ``starting``: it has not got its name yet; ``stopping``: it has given it up, and ends now.
        """
        exit = self.memory.exit if self.memory is not None else None
        if exit is None and self.memory is not None and self.claimed is None:  # one that was killed leaves its claim
            if self.memory.is_held("starting"):
                return "starting"
            if self.is_kept:
                return "stopping"
        if exit is None or exit.get("code") is None:
            return "died"
        return "failed" if exit.get("code") else "stopped"

    def describe(self) -> dict[str, Any]:
        """Returns what it tells of itself, or what is known without it. ``silent``: it does not answer."""
        log = {"log": str(self.memory.log) if self.memory is not None else None}
        if self.claimed is not None and self.claimed.is_alive:
            try:
                return {**describe(self.claimed.socket), **log}
            except ControlError as error:
                return {**self._remembered(), **log, "pid": self.claimed.pid, "state": "silent", "error": str(error)}
        return {**self._remembered(), **log, "state": self.state}

    def _remembered(self) -> dict[str, Any]:
        start = self.memory.start if self.memory is not None else None
        about = self.claimed.about if self.claimed is not None else {}
        return {
            "name": self.name,
            "pid": None,
            "target": start.target if start is not None else about.get("target"),
            "cwd": start.cwd if start is not None else None,
            "started_at": start.started_at if start is not None else about.get("started_at"),
            "addresses": [],
            "workers": [],
            "last_exit": self.memory.exit if self.memory is not None else None,
        }

    def clean_up(self) -> None:
        """Removes the socket and the claim of one that has died."""
        if self.claimed is not None and not self.claimed.is_alive:
            forget(self.claimed)


def known() -> dict[str, Known]:
    """Returns all clusters of this user, by name."""
    claims: dict[str, Claimed] = {}
    for folder in existing_runtime_folders():
        for one in find(folder):
            if one.name not in claims or one.is_alive:
                claims[one.name] = one
    remembered = memories()
    names = sorted({*claims, *remembered})
    return {name: Known(name, claims.get(name), remembered.get(name)) for name in names}


def settled(one: Known, seconds: float) -> Known:
    """Waits until a cluster that is about to start or to end has done so, and its keeper has seen it.

    Args:
        one: The cluster.
        seconds: How long.

    Returns:
        The same as it is now.
    """
    deadline = time.monotonic() + seconds
    while (one.is_in_between or (one.is_kept and not one.is_alive)) and time.monotonic() < deadline:
        time.sleep(_POLL)
        one = known().get(one.name, one)
    return one


def wait_ended(one: Known, seconds: float) -> bool:
    """Waits until a cluster that ends has let go of its name and, if it runs in the background, has ended.

    Returns:
        Whether it has, within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        now = known().get(one.name)
        if now is None or (not now.is_alive and not now.is_kept):
            return True
        if time.monotonic() >= deadline:
            return False
        _wait_process(one.claimed.pid if one.claimed is not None else None, _POLL)


def _wait_process(pid: int | None, seconds: float) -> None:
    if pid is not None and hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(pid)
            try:
                if not select.select([fd], [], [], seconds)[0]:
                    return
            finally:
                os.close(fd)
    time.sleep(_POLL)
