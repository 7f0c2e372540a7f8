"""Shared UDP ports: asyncio's ``create_datagram_endpoint`` on a socket of the primary's."""

from __future__ import annotations

import asyncio
import os
import socket
import warnings
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..._wire.addresses import addresses
from ..._wire.endpoint import Endpoint
from ...errors import ChannelClosedError
from .arguments import arguments_of
from .exclusive import sharing_session
from .foreign import is_foreign, watched
from .port import Port

if TYPE_CHECKING:
    from ..session import Session


def create_datagram_endpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the loop's method of that name: without a remote address, it binds to a shared port."""

    @wraps(original)
    async def create_datagram_endpoint(self: asyncio.AbstractEventLoop, *args: Any, **kwargs: Any) -> Any:
        session = sharing_session(self)
        given = None if session is None else arguments_of(original, self, *args, **kwargs)
        if session is None or given is None or _binds_alone(self, given):
            return await original(self, *args, **kwargs)
        if "reuse_address" in given:
            warnings.warn(_REUSE_ADDRESS, DeprecationWarning, stacklevel=2)
        shared = await _open(original, self, session, given)
        try:
            shared.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, bool(given.get("allow_broadcast")))
            factory, sock = given["protocol_factory"], _PortSocket.of(shared)
            if is_foreign(self):
                sock.port, factory = None, watched(factory, shared.close)
            transport_and_protocol = await original(self, factory, sock=sock)
        except BaseException:
            shared.close()
            raise
        shared.announce()
        return transport_and_protocol

    return create_datagram_endpoint


_REUSE_ADDRESS = "The *reuse_address* parameter has been deprecated as of 0.15."  # uvloop's words


def _binds_alone(loop: asyncio.AbstractEventLoop, given: dict[str, Any]) -> bool:
    """Whether this process binds by itself, or the loop's own method refuses these arguments."""
    if any(given.get(name) for name in ("sock", "reuse_port", "reuse_address")) or given.get("remote_addr") is not None:
        return True
    if given.get("family") == socket.AF_UNIX or given.get("proto", 0) not in (0, socket.IPPROTO_UDP):
        return True
    address = given.get("local_addr")
    types = tuple if isinstance(loop, asyncio.BaseEventLoop) else (tuple, list)
    return not (isinstance(address, types) and len(address) == 2)


async def _open(
    original: Callable[..., Any], loop: asyncio.AbstractEventLoop, session: Session, given: dict[str, Any]
) -> Port:
    """The shared port of the first address that can be bound, or raises what the loop's own method raises."""
    host, port = given["local_addr"]
    hints = {name: given.get(name, 0) for name in ("family", "proto", "flags")}
    infos = await addresses(loop, host, port, type=socket.SOCK_DGRAM, **hints)
    refused = OSError("getaddrinfo() returned empty list")
    for family, kind, _, _, address in infos:
        try:
            return await session.ports.open(Endpoint.of(family, kind, address), backlog=0)
        except ChannelClosedError:
            raise
        except OSError as error:
            refused = error
    if infos:  # in the loop's own words: what the primary could not bind, this process can't either
        transport, _ = await original(loop, **{**given, "protocol_factory": asyncio.DatagramProtocol})
        transport.close()  # it has become free meanwhile
    raise refused


class _PortSocket(socket.socket):
    """A UDP socket that closes its port when it is closed, or detached as uvloop does; see `port.Connection`."""

    __slots__ = ("port",)
    port: Port | None

    @classmethod
    def of(cls, port: Port) -> _PortSocket:
        sock = cls(port.sock.family, port.sock.type, port.sock.proto, fileno=os.dup(port.sock.fileno()))
        sock.port = port
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        super().close()
        if self.port is not None:
            self.port.close()

    def detach(self) -> int:
        fd = super().detach()
        if self.port is not None:
            self.port.close()
        return fd
