"""How long an accepted connection has waited in the kernel's queue.

Linux knows since when a TCP connection's client has sent nothing (``TCP_INFO``, tcp(7)): most send their request with
the connection and then wait. So for a client that goes on to send, the time is that since it sent last, which is less.
Linux measures it in ticks, most often of 4 ms. Elsewhere, and for Unix sockets, nothing is known.
"""

from __future__ import annotations

import _socket
import socket
import sys

TICK = 0.004
"""Seconds: waits that are shorter can't be told from none."""

_TCP_INFO = getattr(socket, "TCP_INFO", 0) if sys.platform == "linux" else 0
_STREAM, _TCP = int(socket.SOCK_STREAM), int(socket.IPPROTO_TCP)  # enums take longer
_LAST_DATA_RECEIVED = 52  # the offset of `tcpi_last_data_recv` in `struct tcp_info`, in milliseconds
_SIZE = 56


def can_be_told(family: int) -> bool:
    """Whether `waited` can tell it, for sockets of this family."""
    return bool(_TCP_INFO) and family in (socket.AF_INET, socket.AF_INET6)


def waited(family: int, fd: int) -> float:
    """Returns for how many seconds this connection has waited; 0.0: for less than a tick, or it is unknown.

    Args:
        family: Its family, of which `can_be_told` says True.
        fd: Its descriptor, which stays the caller's.
    """
    try:
        sock = _socket.socket(family, _STREAM, 0, fd)  # `socket.socket` takes five times as long
        try:
            info = sock.getsockopt(_TCP, _TCP_INFO, _SIZE)
        finally:
            sock.detach()
    except OSError:
        return 0.0
    return int.from_bytes(info[_LAST_DATA_RECEIVED:_SIZE], sys.byteorder) / 1000 if len(info) >= _SIZE else 0.0
