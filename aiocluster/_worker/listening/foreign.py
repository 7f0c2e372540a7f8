"""Loops that are neither asyncio's nor uvloop's, such as rloop's.

They may take the descriptor out of a socket at once. So a connection, or a datagram endpoint, is over when its protocol
is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from .arguments import is_uvloop
from .port import Connection


def is_foreign(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether it is neither asyncio's nor uvloop's."""
    return not isinstance(loop, asyncio.BaseEventLoop) and not is_uvloop(loop)


async def connect(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], Any], sock: Connection, options: dict[str, Any]
) -> asyncio.BaseTransport:
    """Like `loop.connect_accepted_socket`, which a loop need not have."""
    port, sock.port = sock.port, None
    assert port is not None

    def lost() -> None:
        sock.transport = None
        port.closed(sock)

    make = watched(factory, lost)
    try:
        try:
            transport, _ = await loop.connect_accepted_socket(make, sock, **options)
        except NotImplementedError:
            if options:  # TLS
                raise
            transport, _ = await loop.create_connection(make, sock=sock)
    except BaseException:
        if sock in port.connections:
            lost()
        raise
    return transport


def watched(factory: Callable[[], Any], lost: Callable[[], None]) -> Callable[[], Any]:
    """Makes the same protocols, and calls ``lost`` once one has lost its connection."""

    def make() -> Any:
        protocol = factory()
        original = protocol.connection_lost

        def connection_lost(error: Exception | None) -> None:
            try:
                original(error)
            finally:
                lost()

        with contextlib.suppress(AttributeError):  # of a class with slots; its connections are not waited for
            protocol.connection_lost = connection_lost
            return protocol
        lost()
        return protocol

    return make
