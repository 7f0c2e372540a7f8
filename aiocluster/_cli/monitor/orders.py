"""What the keys of ``top`` have a cluster do. Each waits until it is done."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from ..._control import protocol
from ..._control.client import ControlError, NotRunningError, ask, describe
from ..._control.clusters import known

Told = Callable[[dict[str, Any]], None]


def reload(name: str, told: Told) -> str:
    """Replaces all workers. Returns what was done, in words.

    Raises:
        ControlError: It was not done; the text says why. So do the others.
    """
    ask(_socket(name), protocol.Reload(None), told)
    return f"{name} has been reloaded"


def resize(name: str, by: int, told: Told) -> str:
    """Adds so many workers, or takes them away."""
    found = ask(_socket(name), protocol.Resize(by), told)
    low, high = found["bounds"]
    return f"{name} has {low if low == high else f'{low} to {high}'} worker{'' if high == 1 else 's'}"


def stop(name: str, told: Told) -> str:
    """Stops the cluster, after what is in flight."""
    try:
        ask(_socket(name), protocol.Stop(True), told)
    except NotRunningError:
        pass  # it has just ended
    return f"{name} is stopped"


def replace_worker(name: str, pid: int) -> str:
    """Has one worker leave, after what is in flight; it is replaced."""
    if hasattr(os, "pidfd_open"):
        fd = os.pidfd_open(pid)
        try:
            _check_worker(name, pid)  # and so the descriptor is this worker's, whatever becomes of the number
            signal.pidfd_send_signal(fd, signal.SIGTERM)
        finally:
            os.close(fd)
    else:
        _check_worker(name, pid)
        os.kill(pid, signal.SIGTERM)
    return f"the worker with pid {pid} leaves"


def _check_worker(name: str, pid: int) -> None:
    if all(worker["pid"] != pid for worker in describe(_socket(name))["workers"]):
        raise ControlError(f"{name} has no worker with pid {pid} any more")


def _socket(name: str) -> Any:
    one = known().get(name)
    if one is None or one.claimed is None or not one.is_alive:
        raise NotRunningError(f"{name} does not run")
    return one.claimed.socket
