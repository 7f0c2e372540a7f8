"""Who is at the other end of a Unix socket: the kernel says so, the peer can't lie."""

from __future__ import annotations

import socket
import struct
import sys

_LOCAL_PEERCRED = 1  # sys/un.h of macOS; the level SOL_LOCAL is 0
_XUCRED = struct.Struct("=IIh2x16I")  # sys/ucred.h: version, uid, number of groups, groups


def peer_uid(connection: socket.socket) -> int:
    """Returns the user id of the process that has connected: ``SO_PEERCRED`` (unix(7)), or ``LOCAL_PEERCRED``.

    Raises:
        OSError: The kernel does not know.
    """
    if sys.platform == "linux":
        credentials = struct.Struct("=iII")  # pid, uid, gid
        _, uid, _ = credentials.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    else:
        _, uid, *_ = _XUCRED.unpack(connection.getsockopt(0, _LOCAL_PEERCRED, _XUCRED.size))
    assert isinstance(uid, int)
    return uid
