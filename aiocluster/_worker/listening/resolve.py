"""From the arguments of a listening call to the endpoints that the primary is asked for."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

from ..._wire.addresses import addresses
from ..._wire.endpoint import Endpoint


async def resolve(
    loop: asyncio.AbstractEventLoop, host: Any, port: int | None, family: int, flags: int
) -> list[Endpoint]:
    """The endpoints of these hosts, each once, by the rules of `loop.create_server`."""
    hosts = [None] if host == "" or host is None else [host] if isinstance(host, str) else list(host)
    endpoints: dict[Endpoint, None] = {}
    for one in hosts:
        infos = await addresses(loop, one, port, family=family, type=socket.SOCK_STREAM, flags=flags)
        if not infos:
            raise OSError(f"getaddrinfo({one!r}) returned empty list")
        for found, kind, _, _, address in infos:
            if found != socket.AF_INET6 or has_ipv6():
                endpoints[Endpoint.of(found, kind, address)] = None
    return list(endpoints)


def has_ipv6() -> bool:
    """Whether this machine supports IPv6."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return False
    return True
