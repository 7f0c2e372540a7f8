"""Binding a Unix path, as the loop's own ``create_unix_server`` does it.

This process does it, not the primary: so its user, its umask and its view of the file system count. The primary then
gets the socket, and shares it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from typing import Any

from ..._wire.endpoint import queue_length
from ..._wire.socket_file import is_in_use

logger = logging.getLogger("aiocluster.ports")


def plain_path(loop: asyncio.AbstractEventLoop, path: Any) -> Any:
    """The path as this loop gives it to the system: asyncio as it is, uvloop and others as bytes.

    Raises:
        TypeError: It is no path.
        ValueError: There is a null byte in it.
        IndexError: It is empty.
    """
    plain = os.fspath(path)
    if isinstance(plain, str) and not isinstance(loop, asyncio.BaseEventLoop):
        plain = os.fsencode(plain)
    if not _is_abstract(plain) and (b"\0" if isinstance(plain, bytes) else "\0") in plain:
        os.stat(plain)  # raises
    return plain


def bind(path: Any, *, backlog: int | None, mode: int | None) -> socket.socket:
    """A new socket that is bound to this path. Removes a stale file of a socket that was there.

    Args:
        path: What `plain_path` returns.
        backlog: The backlog that was asked for; None: nobody can connect yet.
        mode: The permissions of the file; None: as the umask has it.

    Raises:
        OSError: It can't be bound. Unlike asyncio, this leaves a socket on which somebody listens alone.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if not _is_abstract(path):
            _remove_stale(path)
        sock.bind(path)
        if mode is not None and not _is_abstract(path):
            os.chmod(path, mode)  # before listen(): no client can connect yet
        if backlog is not None:
            sock.listen(queue_length(backlog))
    except BaseException:
        sock.close()
        raise
    return sock


def in_use(path: Any) -> OSError:
    """The error that asyncio raises, word for word."""
    return OSError(errno.EADDRINUSE, f"Address {path!r} is already in use")


def _remove_stale(path: Any) -> None:
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode) and not is_in_use(path):
            os.remove(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        # The folder's permissions may only allow to create a socket.
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, error)


def _is_abstract(path: Any) -> bool:
    return path[0] in (0, "\0")
