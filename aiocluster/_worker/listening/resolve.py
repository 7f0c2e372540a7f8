"""From the arguments of a listening call to the endpoints that the primary is asked for."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

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
                endpoints.append(Endpoint(found, kind, str(address[0]), int(address[1])))
    return endpoints if is_uvloop(loop) else list(dict.fromkeys(endpoints))


async def addresses(
    loop: asyncio.AbstractEventLoop, host: Any, port: Any, *, family: int, type: int, flags: int, proto: int = 0
) -> list[Any]:
    """What getaddrinfo(3) returns, by way of the loop's own listening calls.

    asyncio's don't ask getaddrinfo(3) about an IP address: it would take the lowest 16 bits of a port out of range.
    """
    hints = {"family": family, "type": type, "flags": flags, "proto": proto}
    if isinstance(loop, asyncio.BaseEventLoop):
        return list(await loop._ensure_resolved((host, port), loop=loop, **hints))  # type: ignore[attr-defined]
    if is_uvloop(loop) and not isinstance(port, int | str | bytes | None):
        raise TypeError(
            "port must be a str, bytes or int"
        )  # its getaddrinfo() takes a float, its listening calls don't
    return list(await loop.getaddrinfo(host, port, **hints))


def has_ipv6() -> bool:
    """Whether this machine supports IPv6."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return False
    return True


def whole_path(path: Any) -> str:
    """A Unix socket's absolute path: the primary's working directory may be another one."""
    name = os.fsdecode(path)
    return name if name.startswith("\0") else os.path.abspath(name)
