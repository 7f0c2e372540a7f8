"""Whether a connection's client has sent anything yet."""

from __future__ import annotations

import socket
import struct
import sys

_BYTES_RECEIVED = 128
"""Where ``tcpi_bytes_received`` is in Linux's ``struct tcp_info`` (linux/tcp.h), from Linux 4.1 on."""


def has_sent_nothing(sock: socket.socket) -> bool:
    """Whether its client is known to have sent no byte. Only Linux tells it, and only of TCP connections."""
    if sys.platform != "linux" or sock.fileno() < 0 or sock.family == socket.AF_UNIX:
        return False
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED + 8)
    except OSError:  # not of this kind of socket
        return False
    if len(info) < _BYTES_RECEIVED + 8:
        return False
    (received,) = struct.unpack_from("Q", info, _BYTES_RECEIVED)
    return bool(received == 0)
