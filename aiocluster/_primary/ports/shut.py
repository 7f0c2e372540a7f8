"""Closing a listening socket so that each client is served or refused, and none is let in and then reset.

On Linux, nobody is let in any more while those who have been are being accepted: a socket filter drops the packets that
begin a TCP connection (socket(7)), and a Unix socket that is shut down refuses. Elsewhere, whoever comes between the
last accept and the close is reset.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; not in the socket module

# linux/bpf_common.h. Offset 13 of a TCP header has its flags (RFC 9293, 3.1); the filter's packets begin with it.
_DROPS_NEW_CONNECTIONS = (
    (0x30, 0, 0, 13),  # A = the byte at 13
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # if A is SYN: the first packet of a connection
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFF_FFFF),  # else let it pass: a handshake that has begun comes to its end
)


def refuse_new(sock: socket.socket) -> None:
    """Lets no new clients in. Those that have been let in can still be accepted."""
    if sys.platform != "linux":
        return
    try:
        if sock.family == socket.AF_UNIX:
            sock.shutdown(socket.SHUT_RD)
        else:
            program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROPS_NEW_CONNECTIONS)
            held = ctypes.create_string_buffer(program)
            argument = struct.pack("HP", len(_DROPS_NEW_CONNECTIONS), ctypes.addressof(held))
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, argument)
    except OSError:  # a kernel without filters
        pass


def close_everywhere(sock: socket.socket) -> None:
    """Closes the socket, also for the processes that have a duplicate of it, where the kernel can do that."""
    if sys.platform == "linux":
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it does not listen
            pass
    sock.close()
