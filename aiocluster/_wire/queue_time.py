"""How long an accepted connection has waited in the kernel's queue.

Linux knows since when a TCP connection's client has sent nothing (``TCP_INFO``, tcp(7)): most send their request with
the connection and then wait. So for a client that goes on to send, the time is that since it sent last, which is less.
Linux measures it in ticks, most often of 4 ms. Elsewhere, and for Unix sockets, nothing is known.

It takes a system call. So where many connections come, only some are asked, and their neighbours in the queue are taken
to have waited as long: five hundred in a second, and some more at once after a time with fewer.
"""

from __future__ import annotations

import _socket
import socket
import sys

TICK = 0.004
"""Seconds: waits that are shorter can't be told from none."""

_BETWEEN = TICK / 2  # seconds between two that are asked
_SAVED = 64 * _BETWEEN  # seconds: those that could have been asked in that time are asked later, at once

_TCP_INFO = getattr(socket, "TCP_INFO", 0) if sys.platform == "linux" else 0
_STREAM, _TCP = int(socket.SOCK_STREAM), int(socket.IPPROTO_TCP)  # enums take longer
_LAST_DATA_RECEIVED = 52  # the offset of `tcpi_last_data_recv` in `struct tcp_info`, in milliseconds
_SIZE = 56


class QueueTimes:
    """Asks some of the connections of one port.

    Args:
        family: Of its sockets.

    Attributes:
        can_be_told: Whether anything is known of them.
        asks_at: When the next one may be asked, on the monotonic clock.
        last: For how many seconds the one that was asked last had waited; 0.0: for less than a tick.
    """

    __slots__ = ("_family", "asks_at", "can_be_told", "last")

    def __init__(self, family: int) -> None:
        self._family = int(family)  # an enum takes longer
        self.can_be_told: bool = bool(_TCP_INFO) and family in (socket.AF_INET, socket.AF_INET6)
        self.asks_at: float = 0.0
        self.last: float = 0.0

    def ask(self, fd: int, now: float) -> float:
        """Asks one, if `can_be_told`, whether its turn has come or not, and returns `last`.

        Args:
            fd: Its descriptor, which stays the caller's.
            now: The time on the monotonic clock.
        """
        self.asks_at = max(self.asks_at, now - _SAVED) + _BETWEEN
        self.last = 0.0
        try:
            sock = _socket.socket(self._family, _STREAM, 0, fd)  # `socket.socket` takes five times as long
            try:
                info = sock.getsockopt(_TCP, _TCP_INFO, _SIZE)
            finally:
                sock.detach()
        except OSError:
            return 0.0
        if len(info) >= _SIZE:
            self.last = int.from_bytes(info[_LAST_DATA_RECEIVED:_SIZE], sys.byteorder) / 1000
        return self.last
