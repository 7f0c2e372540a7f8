"""The file of a Unix socket: which socket it is, and whether anybody listens on it."""

from __future__ import annotations

import os
import socket
import stat

ABSTRACT = b"\0"
"""What the names of Linux's abstract sockets begin with. These have no file, see unix(7)."""


MAX_PATH = 4096
"""The most bytes of a path that a worker may tell the primary; Linux's own limit (``PATH_MAX``)."""


def whole_path(path: str | bytes | os.PathLike[str]) -> bytes:
    """The absolute path of a socket's file: the same one, however its folder is spelled.

    The file itself may be a symbolic link: bind(2) does not follow it.
    """
    name = os.fsencode(path)
    if name.startswith(ABSTRACT):
        return name
    folder, file = os.path.split(name)
    return os.path.join(os.path.realpath(folder), file)


def inode_of(path: str | bytes) -> list[int] | None:
    """The device and inode of the socket at this path, as this process sees it; empty if there is none there.

    None if this process may not look.
    """
    if os.fsencode(path).startswith(ABSTRACT):
        return []
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return []
    except OSError:
        return None
    return [found.st_dev, found.st_ino] if stat.S_ISSOCK(found.st_mode) else []


def is_in_use(path: str | bytes) -> bool:
    """Whether a process listens on the socket at this path. Does not wait for it.

    True also if that can't be told, as where this process may not connect. On macOS, a server whose backlog is full
    looks as if it were gone.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # where the backlog of a busy server is full, the answer is EAGAIN
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            pass
    return True
