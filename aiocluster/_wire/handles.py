"""Converts sockets to descriptors and back: which handles can be sent, and who owns them afterwards.

A handle is duplicated when it is sent, so closing the sender's socket before the message leaves does no harm. A
connected socket is then closed in the sender. Listening and UDP sockets stay open in both processes.
"""

from __future__ import annotations

import asyncio
import os
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

from .descriptors import MAX_DESCRIPTORS


def sockets_of(handles: Iterable[Any]) -> list[socket.socket | TransportSocket]:
    """The sockets of these handles.

    Args:
        handles: ``socket.socket``, ``asyncio.Server``, anyio listeners.

    Raises:
        TypeError: A handle is of another type.
        ValueError: A socket is closed, or there are more than 250.
    """
    found: list[socket.socket | TransportSocket] = []
    for handle in handles:
        if isinstance(handle, (socket.socket, TransportSocket)) or _is_of_uvloop(handle):
            found.append(handle)
        elif isinstance(handle, asyncio.AbstractServer) or hasattr(handle, "sockets"):  # uvloop's is no subclass
            found.extend(getattr(handle, "sockets", ()))
        elif hasattr(handle, "listeners"):  # anyio's MultiListener
            found.extend(sockets_of(handle.listeners))
        elif hasattr(handle, "extra_attributes"):  # anyio's SocketListener and SocketStream
            from anyio.abc import SocketAttribute

            found.append(handle.extra(SocketAttribute.raw_socket))
        else:
            raise TypeError(
                f"a handle is a socket, an asyncio server or an anyio listener, not {type(handle).__name__}"
            )
    if len(found) > MAX_DESCRIPTORS:
        raise ValueError(f"{len(found)} handles on one message; the limit is {MAX_DESCRIPTORS}")
    for sock in found:
        if sock.fileno() < 0:
            raise ValueError("a closed socket can't be sent")
    return found


def duplicate(sockets: Iterable[socket.socket | TransportSocket]) -> list[int]:
    """Duplicates the descriptor of each socket.

    Raises:
        OSError: This process has no descriptors left; no duplicate stays open.
    """
    fds: list[int] = []
    try:
        fds.extend(os.dup(sock.fileno()) for sock in sockets)
    except BaseException:
        close(fds)
        raise
    return fds


def closer(fds: list[int]) -> Callable[[], None]:
    """A function that closes these descriptors, once."""
    return lambda: close(fds)


def close(fds: list[int]) -> None:
    """Closes them and empties the list."""
    while fds:
        os.close(fds.pop())


def _is_of_uvloop(handle: Any) -> bool:
    """Whether it is the socket of a uvloop server or transport. These have a class of their own."""
    return type(handle).__module__ == "uvloop.loop" and type(handle).__name__ == "PseudoSocket"


def is_connection(sock: socket.socket | TransportSocket) -> TypeGuard[socket.socket]:
    """Whether it is a connected stream socket, which the sender closes after sending it.

    False for the socket of a server or transport, which only that object can close.
    """
    return (
        isinstance(sock, socket.socket)
        and sock.type == socket.SOCK_STREAM
        and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )


def from_descriptors(fds: list[int]) -> tuple[socket.socket, ...]:
    """Received descriptors as non-blocking sockets. The sockets own them; the list is emptied.

    Raises:
        OSError: A descriptor is not a socket; all of them have been closed.
    """
    sockets: list[socket.socket] = []
    try:
        while fds:
            sock = socket.socket(fileno=fds[0])
            del fds[0]
            sockets.append(sock)
            sock.setblocking(False)
    except BaseException:
        for sock in sockets:
            sock.close()
        close(fds)
        raise
    return tuple(sockets)
