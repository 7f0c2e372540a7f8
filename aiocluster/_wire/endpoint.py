"""What identifies a shared port."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Self

DEFAULT_BACKLOG = 100
"""asyncio's default backlog."""


def queue_length(backlog: int) -> int:
    """How many connections the kernel is to keep waiting at a shared port for which this backlog was asked for.

    Connections wait there while all workers are busy: they are not handed out before. asyncio's default would be full
    soon, and further clients would try again after a second (TCP), or be refused (Unix). So it counts as 1,024.
    ``net.core.somaxconn`` limits it.
    """
    return 1024 if backlog == DEFAULT_BACKLOG else backlog


class Endpoint(NamedTuple):
    """The key of a shared port: workers that ask for the same endpoint get the same port.

    Attributes:
        family: The number of the address family.
        type: The number of the socket type.
        host: An IP address.
        port: The port number; 0 for any free one.
        flowinfo: IPv6 only: its flow label and traffic class (RFC 3493).
        scope_id: IPv6 only: the interface of a link-local address, which is not unique without it.
        path: The absolute path of a Unix socket, instead of host and port. Bytes, because a path need not be text.
        fd: A descriptor that is open in the primary, instead of all these; -1 if there is none.
        ordinal: Distinguishes several requests of one worker for port 0. The first request of each worker gets the same
            port, and so does the second.
    """

    family: int
    type: int
    host: str = ""
    port: int = 0
    flowinfo: int = 0
    scope_id: int = 0
    path: bytes = b""
    fd: int = -1
    ordinal: int = 0

    @classmethod
    def of(cls, family: int, type: int, sockaddr: Any) -> Self:
        """The endpoint of an address as `socket.socket.bind` takes it.

        Raises:
            OverflowError: The port is out of range; the text is that of `socket.socket.bind`.
        """
        if isinstance(sockaddr, (str, bytes)):
            return cls(int(family), int(type), path=os.fsencode(sockaddr))
        host, port, *rest = sockaddr
        return cls(int(family), int(type), str(host), port_number(port), *rest)

    @property
    def sockaddr(self) -> Any:
        """The address as `socket.socket.bind` takes it."""
        if self.path:
            return self.path
        if ":" in self.host:  # IPv6
            return self.host, self.port, self.flowinfo, self.scope_id
        return self.host, self.port

    def __str__(self) -> str:
        if self.fd >= 0:
            return f"the primary's descriptor {self.fd}"
        return repr(os.fsdecode(self.path) if self.path else self.sockaddr)


def port_number(port: int) -> int:
    """Returns ``port``.

    Raises:
        OverflowError: It is out of range, where getaddrinfo(3) would take its lowest 16 bits.
    """
    if not 0 <= port <= 0xFFFF:
        raise OverflowError("bind(): port must be 0-65535.")
    return int(port)
