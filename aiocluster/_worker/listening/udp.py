"""Shared UDP ports: asyncio's ``create_datagram_endpoint`` on a socket of the primary's."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from functools import wraps
from typing import Any

from ..._wire.addresses import addresses
from ..._wire.endpoint import Endpoint
from .exclusive import sharing_session
from .port import Port


def create_datagram_endpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the loop's method of that name: without a remote address, it binds to a shared port."""

    @wraps(original)
    async def create_datagram_endpoint(
        self: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], Any],
        local_addr: Any = None,
        remote_addr: Any = None,
        **options: Any,
    ) -> Any:
        session = sharing_session(self)
        if session is None or options.get("sock") is not None or local_addr is None or remote_addr is not None:
            return await original(self, protocol_factory, local_addr, remote_addr, **options)
        if options.get("family") == socket.AF_UNIX or isinstance(local_addr, str):
            return await original(self, protocol_factory, local_addr, remote_addr, **options)
        host, port = local_addr[:2]
        infos = await addresses(
            self, host, port, family=options.get("family", 0), type=socket.SOCK_DGRAM, flags=options.get("flags", 0)
        )
        if not infos:
            raise OSError("getaddrinfo() returned empty list")
        family, kind, _, _, address = infos[0]
        shared = await session.ports.open(Endpoint.of(family, kind, address), backlog=0)
        try:
            if options.get("allow_broadcast"):
                shared.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            transport_and_protocol = await original(self, protocol_factory, sock=_PortSocket.of(shared))
        except BaseException:
            shared.close()
            raise
        shared.announce()
        return transport_and_protocol

    return create_datagram_endpoint


class _PortSocket(socket.socket):
    """A UDP socket that closes its port when it is closed, or detached as uvloop does; see `port.Connection`."""

    __slots__ = ("port",)
    port: Port

    @classmethod
    def of(cls, port: Port) -> _PortSocket:
        sock = cls(port.sock.family, port.sock.type, port.sock.proto, fileno=os.dup(port.sock.fileno()))
        sock.port = port
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        super().close()
        self.port.close()

    def detach(self) -> int:
        fd = super().detach()
        self.port.close()
        return fd
