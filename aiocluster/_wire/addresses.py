"""From host names to the addresses of endpoints, and which families there are."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any


async def addresses(
    loop: asyncio.AbstractEventLoop, host: Any, port: Any, *, family: int = 0, type: int, proto: int = 0, flags: int = 0
) -> list[Any]:
    """What getaddrinfo(3) returns, by way of the loop's own listening calls.

    asyncio's do not ask getaddrinfo(3) about an IP address: it would take the lowest 16 bits of a port out of range.
    """
    if isinstance(loop, asyncio.BaseEventLoop):
        resolved = loop._ensure_resolved  # type: ignore[attr-defined]
        return list(await resolved((host, port), family=family, type=type, proto=proto, flags=flags, loop=loop))
    # uvloop's getaddrinfo() takes an IP address apart by itself, and loses its scope, or what is wrong with the port.
    if (isinstance(host, str) and "%" in host) or (isinstance(port, int) and not 0 <= port <= 0xFFFF):
        return await loop.run_in_executor(None, socket.getaddrinfo, host, port, family, type, proto, flags)
    if isinstance(port, float):  # that function takes one, its listening calls don't
        raise TypeError("port must be a str, bytes or int")
    return list(await loop.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags))


def has_ipv6() -> bool:
    """Whether this machine supports IPv6."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return False
    return True
