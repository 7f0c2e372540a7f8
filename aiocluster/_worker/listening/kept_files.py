"""The files of shared Unix sockets outlive the worker that leaves.

A program that is about to end removes the file of its socket, as uvicorn does. The file of a shared socket is no longer
this program's own: clients still reach the other workers by it. The primary removes it when the port is closed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from ..._wire.socket_file import whole_path


def keep(paths: Collection[bytes]) -> None:
    """From now on, `os.remove` and `os.unlink` leave these files alone, in this process.

    Args:
        paths: What `whole_path` returns.
    """
    for name in ("remove", "unlink"):
        setattr(os, name, _sparing(paths, getattr(os, name)))


def _sparing(paths: Collection[bytes], remove: Callable[..., None]) -> Callable[..., None]:
    @wraps(remove)
    def sparing(path: Any, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None or not _is_one_of(path, paths):
            remove(path, dir_fd=dir_fd)

    return sparing


def _is_one_of(path: Any, paths: Collection[bytes]) -> bool:
    try:
        return whole_path(path) in paths
    except (TypeError, ValueError):  # no path: the system's own call says so
        return False
