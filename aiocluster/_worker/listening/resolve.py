"""From the arguments of a listening call to the endpoints that the primary is asked for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

from ..._wire.addresses import addresses, has_ipv6
from ..._wire.endpoint import Endpoint
from .arguments import is_uvloop


def hosts_of(host: Any) -> list[Any]:
    """The hosts of a listening call, by the rules of `loop.create_server`."""
    if host == "":
        return [None]
    if isinstance(host, str) or not isinstance(host, Iterable):
        return [host]
    return list(host)


async def resolve(
    loop: asyncio.AbstractEventLoop, hosts: Iterable[Any], port: Any, family: int, flags: int
) -> list[Endpoint]:
    """The endpoints of these hosts, by the rules of `loop.create_server`: each once, but with uvloop."""
    endpoints: list[Endpoint] = []
    for host in hosts:
        infos = await addresses(loop, host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
        if not infos:
            raise OSError(f"getaddrinfo({host!r}) returned empty list")
        for found, kind, _, _, address in infos:
            if found != socket.AF_INET6 or has_ipv6():
                endpoints.append(Endpoint.of(found, kind, address))
    return endpoints if is_uvloop(loop) else list(dict.fromkeys(endpoints))
