"""Opens the addresses of an app, as shared ports."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence

from ..._bind import BindAddress
from ..._wire.addresses import has_ipv6
from ..._wire.endpoint import Endpoint
from ...errors import ChannelClosedError
from ..current import current_session
from ..failure import CannotStartError
from ..listening.patch import CLEANUP
from ..listening.server import ClusterServer
from ..listening.unix import plain_path

_MAY_PASS = frozenset(
    {errno.EADDRINUSE, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EINTR}
)
"""Errors that are known as such (`why_it_repeats`), or by which other workers may do better."""


async def open_all(
    addresses: Sequence[BindAddress],
    factory: Callable[[], asyncio.BaseProtocol],
    *,
    tls: ssl.SSLContext | None,
    backlog: int,
) -> list[asyncio.AbstractServer]:
    """Serves at all of these addresses; if one can't be opened, at none.

    Args:
        addresses: The addresses.
        factory: Returns a protocol for each connection.
        tls: The TLS context; None: no TLS.
        backlog: The backlog of new ports.

    Raises:
        OSError: An address is in use or not allowed, or want of descriptors or memory.
        CannotStartError: An address can't be opened for any other reason.
        ChannelClosedError: The primary has ended.
    """
    servers: list[asyncio.AbstractServer] = []
    try:
        for address in addresses:
            try:
                async for server in _open(address, factory, tls, backlog):
                    servers.append(server)
            except ChannelClosedError:
                raise
            except OSError as error:
                if error.errno in _MAY_PASS:
                    raise
                raise CannotStartError(f"can't listen on {_text(address)}: {error}") from None
        for server in servers:  # only now: who has listened once is started again and again
            await server.start_serving()
    except BaseException:
        for server in servers:
            server.close()
        raise
    return servers


async def _open(
    address: BindAddress, factory: Callable[[], asyncio.BaseProtocol], tls: ssl.SSLContext | None, backlog: int
) -> AsyncIterator[asyncio.AbstractServer]:
    loop = asyncio.get_running_loop()
    ports = current_session().ports
    if address.fd is not None:
        endpoint = Endpoint(socket.AF_UNSPEC, socket.SOCK_STREAM, fd=address.fd)
        shared = await ports.open(endpoint, backlog=backlog, is_listening=False)
    elif address.path is not None:
        # Not by the loop's call, which has no mode: the file must have it before anybody can connect.
        path = plain_path(loop, address.path)
        shared = await ports.open_path(
            path, named=address.path, backlog=backlog, mode=address.mode, cleanup=CLEANUP, is_listening=False
        )
    else:
        port = address.port
        for host in _hosts(address.host):
            server = await loop.create_server(factory, host, port, ssl=tls, backlog=backlog, start_serving=False)
            port = server.sockets[0].getsockname()[1]  # 0 is the same free port for both families
            yield server
        return
    yield ClusterServer(loop, [shared], factory, {} if tls is None else {"ssl": tls})


def _hosts(host: str) -> tuple[str, ...]:
    """The hosts to bind: for all interfaces, one for each family that this machine has.

    So IPv4 clients have IPv4 addresses, where one socket for both families would show them as ``::ffff:192.0.2.1``.
    """
    if host not in ("", "::"):
        return (host,)
    return ("::", "0.0.0.0") if has_ipv6() else ("0.0.0.0",)


def _text(address: BindAddress) -> str:
    if address.fd is not None:
        return f"descriptor {address.fd} of the primary"
    if address.path is not None:
        return f"unix:{address.path}"
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
