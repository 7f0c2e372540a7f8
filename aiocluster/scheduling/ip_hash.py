"""The same client's address, the same worker."""

from __future__ import annotations

import os
from typing import Any

from ._keyed import Keyed
from .policy import C


class IpHash(Keyed[C]):
    """All connections from a client's address to one worker, as long as that worker is there. Weights do not count.

    An IPv4 address that is mapped into IPv6 (RFC 4291, 2.5.5.2) is the same as that address by itself. A Unix socket's
    client is known by its path or abstract name; most have none, and are served in turn. A worker that is added or
    removed for good moves one n-th of the addresses. One that is removed for a moment moves its own until it is back.
    """

    def pick(self, client: Any) -> C:
        return self._find(address_key(client) or None)


def address_key(client: Any) -> bytes:
    """What identifies a client's address, as ``accept()`` returns it; empty if it has none."""
    host = client[0] if isinstance(client, tuple) else client
    if isinstance(host, bytes):
        return host
    name = str(host)
    if name.startswith("::ffff:"):
        return _unmapped(name)
    return os.fsencode(name.partition("%")[0])  # % and an interface: where it came in, not who


def _unmapped(host: str) -> bytes:
    from ipaddress import IPv6Address  # few programs listen on addresses of both kinds

    mapped = IPv6Address(host).ipv4_mapped
    return str(mapped or host).encode()
