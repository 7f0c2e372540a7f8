"""Opening the sockets behind shared ports, with the primary's rights. Workers bind Unix paths by themselves."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys

from ..._wire.endpoint import Endpoint
from ..._wire.frames import Listen
from ..._wire.handles import close
from ..._wire.socket_file import ABSTRACT, MAX_PATH, inode_of, is_in_use
from ...address import Address
from ...errors import ProtocolError

_FAMILIES = {
    (socket.AF_INET, socket.SOCK_STREAM): "tcp4",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
    (socket.AF_INET, socket.SOCK_DGRAM): "udp4",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp6",
    (socket.AF_UNIX, socket.SOCK_STREAM): "unix",
}


_MOST_NAME = 1000  # characters


def bind(endpoint: Endpoint, *, reuse_port: bool) -> socket.socket:
    """A non-blocking socket bound to this endpoint.

    Args:
        endpoint: An address.
        reuse_port: Whether more sockets can be bound to the same endpoint (``SO_REUSEPORT``).

    Raises:
        OSError: It can't be bound, see ``bind(2)``.
    """
    sock = socket.socket(endpoint.family, endpoint.type)
    try:
        sock.setblocking(False)
        if endpoint.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if (
            endpoint.family == socket.AF_INET6 and endpoint.type == socket.SOCK_STREAM
        ):  # as asyncio: "::" means both for UDP
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(endpoint.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_path(path: bytes, *, mode: int | None, uid: int | None, gid: int | None) -> socket.socket:
    """A non-blocking socket bound to this path. Removes a stale file of a socket that was there.

    Args:
        path: The path.
        mode: The permissions of the file; None: as the umask has it.
        uid: Its owner; None: this process's user.
        gid: Its group; None: this process's group.

    Raises:
        OSError: It can't be bound, see ``bind(2)``. Unlike asyncio, this leaves a socket on which somebody listens
            alone.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if path.startswith(ABSTRACT):
            sock.bind(path)
            return sock
        if inode_of(path) and not is_in_use(path):
            os.unlink(path)
        sock.bind(path)
        if (mode, uid, gid) != (None, None, None):
            _give(path, mode, uid, gid)
    except BaseException:
        sock.close()
        raise
    return sock


def _give(path: bytes, mode: int | None, uid: int | None, gid: int | None) -> None:
    """Changes the permissions and the owner of a socket's file, but of nothing that somebody put in its place."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) if sys.platform == "linux" else -1
    try:
        found = os.stat(path, follow_symlinks=False) if fd < 0 else os.fstat(fd)
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        file = path if fd < 0 else b"/proc/self/fd/%d" % fd
        if mode is not None:
            os.chmod(file, mode)  # before listen(): no client can connect yet
        if uid is not None or gid is not None:
            os.chown(file, -1 if uid is None else uid, -1 if gid is None else gid)
    finally:
        if fd >= 0:
            os.close(fd)


def adopt(fds: list[int]) -> socket.socket:
    """The socket of a Unix path that a worker has bound. Closes all other descriptors in the list.

    Raises:
        OSError: The descriptor was lost on the way: this process has none left.
        ProtocolError: It is something else.
    """
    if not fds:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    try:
        sock = socket.socket(fileno=fds[0])
        del fds[0]
    except OSError:
        raise ProtocolError("a descriptor that is no socket") from None
    finally:
        close(fds)
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        sock.close()
        raise ProtocolError("a socket that is not bound to a path")
    sock.setblocking(False)
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


def check(listen: Listen) -> None:
    """Checks what a worker asks for.

    Raises:
        ProtocolError: No listening call asks for it. A host name would have the primary wait for a name server, a raw
            socket is open to its rights alone, and what is too long would be kept.
    """
    endpoint = listen.endpoint
    if (
        len(endpoint.path) > MAX_PATH
        or len(listen.scheduling or "") > _MOST_NAME
        or len(listen.inode or ()) not in (0, 2)
    ):
        raise ProtocolError("a path, a policy or an inode that is too long")
    if endpoint.fd >= 0:
        return
    if (endpoint.family, endpoint.type) not in _FAMILIES:
        raise ProtocolError(f"a port of family {endpoint.family} and type {endpoint.type}")
    if endpoint.family != socket.AF_UNIX:
        try:
            socket.inet_pton(endpoint.family, endpoint.host)
        except (OSError, ValueError):
            raise ProtocolError(f"a port at {endpoint.host!r:.60}, which is no IP address") from None
