"""The same worker for the same client address."""

from __future__ import annotations

import os
from typing import Any

from ._keyed import Keyed
from .policy import C


class IpHash(Keyed[C]):
    """Sends all connections from a client's address to one worker while that worker is there. Weights do not count.

    An IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2) counts as the IPv4 address. A client on a Unix socket is
    identified by its path or abstract name. Most have none and are assigned in turn. Adding or removing a
    worker moves one n-th of the addresses. If a worker is removed only for a moment, its addresses move until it is
    back.
    """

    def pick(self, client: Any) -> C:
        return self._find(address_key(client) or None)


def address_key(client: Any) -> bytes:
    """The key of a client's address as ``accept()`` returns it; empty if the client has no address."""
    host = client[0] if isinstance(client, tuple) else client
    if isinstance(host, bytes):
        return host
    name = str(host)
    if name.startswith("::ffff:"):
        return _unmapped(name)
    return os.fsencode(name.partition("%")[0])  # without % and the interface, which does not identify the client


def _unmapped(host: str) -> bytes:
    from ipaddress import IPv6Address  # imported here: few programs listen on both kinds of addresses

    mapped = IPv6Address(host).ipv4_mapped
    return str(mapped or host).encode()
