"""Opening the sockets behind shared ports."""

from __future__ import annotations

import errno
import os
import socket
import stat

from ..._wire.endpoint import Endpoint
from ...address import Address
from ...errors import ProtocolError

_FAMILIES = {
    (socket.AF_INET, socket.SOCK_STREAM): "tcp4",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
    (socket.AF_INET, socket.SOCK_DGRAM): "udp4",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp6",
    (socket.AF_UNIX, socket.SOCK_STREAM): "unix",
}


def bind(endpoint: Endpoint, *, reuse_port: bool) -> socket.socket:
    """A non-blocking socket bound to this endpoint.

    Args:
        endpoint: An address or a path.
        reuse_port: Whether more sockets can be bound to the same endpoint (``SO_REUSEPORT``).

    Raises:
        OSError: It can't be bound, see ``bind(2)``.
    """
    sock = socket.socket(endpoint.family, endpoint.type)
    try:
        sock.setblocking(False)
        if endpoint.family == socket.AF_UNIX:
            _remove_stale(endpoint.path)
            sock.bind(endpoint.path)
            return sock
        if endpoint.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if endpoint.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(endpoint.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_another(endpoint: Endpoint, backlog: int) -> socket.socket:
    """One more listening socket for an endpoint that is bound with ``SO_REUSEPORT``.

    Raises:
        OSError: It can't be opened, see ``bind(2)`` and ``listen(2)``.
    """
    sock = bind(endpoint, reuse_port=True)
    try:
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def inherit(fd: int) -> socket.socket:
    """A non-blocking duplicate of a listening socket that this process has open.

    Raises:
        OSError: The descriptor is not a listening socket.
    """
    duplicate = os.dup(fd)
    try:
        sock = socket.socket(fileno=duplicate)
    except OSError:  # not a socket
        os.close(duplicate)
        raise
    if (sock.family, sock.type) not in _FAMILIES or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    sock.setblocking(False)
    return sock


def address_of(sock: socket.socket) -> Address:
    """Where this socket is bound."""
    family = _FAMILIES[sock.family, sock.type]
    name = sock.getsockname()
    if family == "unix":
        return Address(family, path=os.fsdecode(name))
    host: str = name[0]
    if family.endswith("6") and name[3]:
        host += "%" + socket.if_indextoname(name[3])
    return Address(family, host=host, port=name[1])


def check(endpoint: Endpoint) -> None:
    """Checks an endpoint that a worker asks for.

    Raises:
        ProtocolError: No listening call asks for it. A host name would have the primary wait for a name server, and a
            raw socket is open to its rights alone.
    """
    if endpoint.fd >= 0:
        return
    if (endpoint.family, endpoint.type) not in _FAMILIES:
        raise ProtocolError(f"a port of family {endpoint.family} and type {endpoint.type}")
    if endpoint.family != socket.AF_UNIX:
        try:
            socket.inet_pton(endpoint.family, endpoint.host)
        except (OSError, ValueError):
            raise ProtocolError(f"a port at {endpoint.host!r:.60}, which is no IP address") from None


def _remove_stale(path: bytes) -> None:
    """Removes a socket file on which no process listens. Unlike asyncio, it keeps one that is in use."""
    if path.startswith(b"\0"):
        return
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # where the backlog of a busy server is full, the answer is EAGAIN
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass
