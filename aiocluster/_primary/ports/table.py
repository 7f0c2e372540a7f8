"""All shared ports of a primary: who asks for which, and how long they stay open."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..._wire.endpoint import Endpoint
from ...address import Address
from ...scheduling import BY_KERNEL, OWN_SOCKETS, REUSE_PORT_IP_HASH, Policy, check, maker
from ...stats import ListenerStats
from . import bpf as steering
from .port import Listener
from .reuse_port import Group

if TYPE_CHECKING:
    from .backend import Backend

logger = logging.getLogger("aiocluster.listeners")

_CLOSE_DELAY = 0.05  # seconds
_FAMILIES = {
    (socket.AF_INET, socket.SOCK_STREAM): "tcp4",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
    (socket.AF_INET, socket.SOCK_DGRAM): "udp4",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp6",
    (socket.AF_UNIX, socket.SOCK_STREAM): "unix",
}


class Listeners:
    """All shared ports of a primary."""

    def __init__(self) -> None:
        self._by_wanted: dict[Endpoint, Listener] = {}
        self._by_number: dict[int, Listener] = {}
        self._last_number = 0
        self._makers: dict[int, tuple[Any, Callable[[], Policy[Backend]]]] = {}

    def open(
        self, wanted: Endpoint, *, backlog: int, scheduling: Any, default: Any, mode: int | None = None
    ) -> Listener:
        """The port that was asked for: the one that is open already, or a new one.

        Args:
            wanted: Which.
            backlog: What a new one listens with.
            scheduling: The policy that was named for it; None if none was.
            default: The policy of a new one for which none was named.
            mode: The permissions of a new Unix socket's file; None: as the umask has it.

        Raises:
            ValueError: There is no such policy.
            OSError: It can't be opened, as ``bind(2)`` or ``listen(2)`` say.
        """
        listener = self._by_wanted.get(wanted)
        if listener is None:
            asked = default if scheduling is None else scheduling
            possible = _possible(asked, wanted)
            if possible is not asked:
                logger.warning("for %s, the kernel can't choose by address: %s does", wanted, possible)
            return self._open(wanted, backlog, possible, mode)
        scheduling = listener.scheduling if scheduling is None else _possible(scheduling, wanted)
        if (listener.scheduling, listener.backlog) != (scheduling, backlog):
            logger.warning(
                "%s is open with scheduling %r and backlog %d; a worker that asks for %r and %d gets it as it is",
                listener.address,
                listener.scheduling,
                listener.backlog,
                scheduling,
                backlog,
            )
        return listener

    def another(self, wanted: Endpoint) -> Endpoint:
        """The same; of several ports 0, the first that is not open yet."""
        while wanted.port == 0 and not wanted.path and wanted in self._by_wanted:
            wanted = wanted._replace(ordinal=wanted.ordinal + 1)
        return wanted

    def _open(self, wanted: Endpoint, backlog: int, scheduling: Any, mode: int | None) -> Listener:
        check(scheduling)
        is_inherited = wanted.fd >= 0
        is_stream = wanted.type == socket.SOCK_STREAM
        has_own_sockets = is_stream and scheduling in OWN_SOCKETS and _is_ours_to_bind(wanted)
        sock = _inherit(wanted.fd) if is_inherited else _bind(wanted, reuse_port=has_own_sockets)
        try:
            if mode is not None and wanted.path and not wanted.path.startswith("\0"):
                os.chmod(wanted.path, mode)  # nobody can connect before it listens
            if is_stream and not is_inherited and not has_own_sockets:
                sock.listen(backlog)  # where workers have sockets of their own, this one only holds the port
            address = address_of(sock)
            group = None
            if has_own_sockets:
                bound = wanted._replace(port=address.port)
                group = Group(lambda: _listening(bound, backlog), scheduling)
            self._last_number += 1
            policy = None
            if is_stream and scheduling not in BY_KERNEL:
                policy = self._policy_of(scheduling)
            listener = Listener(self._last_number, sock, address, scheduling, policy, backlog, group)
            listener.owns_path = bool(wanted.path)
        except BaseException:
            sock.close()
            raise
        self._by_wanted[wanted] = self._by_number[listener.number] = listener
        if wanted.port == 0 and not wanted.path:  # found under the address that it has got, too
            found = Endpoint(sock.family, sock.type, address.host, address.port, address.path or "")
            self._by_wanted.setdefault(found, listener)
        return listener

    def _policy_of(self, scheduling: Any) -> Policy[Backend]:
        """One more policy of that kind. A policy object makes copies of itself, so there is one maker for it."""
        make = self._makers.get(id(scheduling))
        if make is None or make[0] is not scheduling:
            make = self._makers[id(scheduling)] = scheduling, maker(scheduling)
        return make[1]()

    def get(self, number: int) -> Listener | None:
        """The port of that number; None if it has been closed meanwhile."""
        return self._by_number.get(number)

    def release(self, backend: Backend, listener: Listener) -> None:
        """A worker has closed its server: the last one closes the port."""
        listener.holders.discard(backend)
        listener.stop(backend)
        if not listener.holders and not backend.takes_connections:
            self._close_unless_needed(listener, backend)
        elif not listener.holders:
            # Not at once: an exception closes servers on its way out of a worker, which says so right after that.
            asyncio.get_running_loop().call_later(_CLOSE_DELAY, self._close_unless_needed, listener, backend)
        elif listener.group is not None and not listener.is_kept and listener.is_alone_in_its_place(backend):
            if backend.is_missed and listener.group.is_steered:  # what is on its way to it waits for its replacement
                listener.group.back_off(backend.slot, listener.adopt)
            else:
                listener.group.give_up(backend.slot, listener.adopt)

    def stop(self, backend: Backend, *, for_good: bool) -> None:
        """Sends this worker no more connections: it leaves, or has failed."""
        for listener in self._by_number.values():
            listener.stop(backend)
            if for_good and listener.group is not None and listener.is_alone_in_its_place(backend):
                listener.group.back_off(backend.slot, listener.adopt)

    def changed(self, backend: Backend) -> None:
        """This worker's load has changed."""
        for number in backend.ports:
            if listener := self._by_number.get(number):
                listener.changed(backend)

    def forget(self, backend: Backend) -> None:
        """A worker is gone. What it listened on, if it did not mean to go, stays open for its replacement."""
        for listener in list(self._by_number.values()):
            listener.forget(backend)
            if backend in listener.holders:
                self.release(backend, listener)

    def _close_unless_needed(self, listener: Listener, last: Backend) -> None:
        listener.is_kept |= last.is_missed
        if not listener.holders and not listener.is_kept and listener.number in self._by_number:
            self._close(listener)

    def _close(self, listener: Listener) -> None:
        listener.close()
        del self._by_number[listener.number]
        self._by_wanted = {wanted: one for wanted, one in self._by_wanted.items() if one is not listener}

    def stats(self) -> tuple[ListenerStats, ...]:
        """What is known of each port now."""
        return tuple(listener.stats() for listener in self._by_number.values())

    def close(self) -> None:
        """Closes every port."""
        for listener in list(self._by_number.values()):
            self._close(listener)


def _is_ours_to_bind(wanted: Endpoint) -> bool:
    """Whether we can bind as many sockets to it as we like."""
    return wanted.fd < 0 and not wanted.path


def _possible(scheduling: Any, wanted: Endpoint) -> Any:
    """What is to be used for it: `IpHash` in place of `REUSE_PORT_IP_HASH` where the kernel can't do that."""
    if scheduling == REUSE_PORT_IP_HASH and not (_is_ours_to_bind(wanted) and steering.is_possible()):
        return "ip_hash"
    return scheduling


def _inherit(fd: int) -> socket.socket:
    duplicate = os.dup(fd)
    try:
        sock = socket.socket(fileno=duplicate)
    except OSError:  # it is no socket
        os.close(duplicate)
        raise
    if (sock.family, sock.type) not in _FAMILIES or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    sock.setblocking(False)
    return sock


def _listening(wanted: Endpoint, backlog: int) -> socket.socket:
    sock = _bind(wanted, reuse_port=True)
    try:
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(wanted: Endpoint, *, reuse_port: bool) -> socket.socket:
    family = socket.AddressFamily(wanted.family)
    sock = socket.socket(family, wanted.type)
    try:
        sock.setblocking(False)
        if family == socket.AF_UNIX:
            _remove_stale(wanted.path)
            sock.bind(wanted.path)
            return sock
        if wanted.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((wanted.host, wanted.port))
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Removes a socket file that nobody listens on any more; asyncio removes even one that is in use."""
    if path.startswith("\0"):
        return
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass


def address_of(sock: socket.socket) -> Address:
    """Where this socket is bound."""
    family = _FAMILIES[sock.family, sock.type]
    name = sock.getsockname()
    if family == "unix":
        return Address(family, path=os.fsdecode(name))
    return Address(family, host=name[0], port=name[1])
