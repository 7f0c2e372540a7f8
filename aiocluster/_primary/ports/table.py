"""All shared ports of a primary: which worker asks for which endpoint, and how long each port stays open."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..._wire.endpoint import Endpoint
from ...scheduling import Policy
from ...scheduling._registry import BY_KERNEL, OWN_SOCKETS, REUSE_PORT_IP_HASH, check, maker
from ...stats import PortStats
from . import bpf
from .bind import address_of, bind, bind_another, inherit
from .port import Port
from .reuse_port import Group

if TYPE_CHECKING:
    from .backend import Backend

logger = logging.getLogger("aiocluster.ports")

_CLOSE_DELAY = 0.05  # seconds


class PortTable:
    """All shared ports of a primary, by endpoint and by number.

    Attributes:
        by_number: The open ports, by the number that frames call them by.
    """

    def __init__(self) -> None:
        self._by_endpoint: dict[Endpoint, Port] = {}
        self.by_number: dict[int, Port] = {}
        self._last_number = 0
        self._makers: dict[int, tuple[Any, Callable[[], Policy[Backend]]]] = {}

    def open(self, endpoint: Endpoint, *, backlog: int, scheduling: Any, default: Any, mode: int | None = None) -> Port:
        """Returns the port for this endpoint, and opens it if it is not open yet.

        Args:
            endpoint: Where to listen.
            backlog: The backlog of a new port.
            scheduling: The policy that was asked for; None: no particular one.
            default: The policy of a new port if no particular one was asked for.
            mode: The permissions of a new Unix socket's file; None: as the umask has it.

        Raises:
            ValueError: There is no such policy.
            OSError: It can't be opened, see ``bind(2)`` and ``listen(2)``.
        """
        port = self._by_endpoint.get(endpoint)
        if port is None:
            preferred = default if scheduling is None else scheduling
            possible = _possible(preferred, endpoint)
            if possible is not preferred:
                logger.warning("%s: the kernel can't choose by client address; using %r instead", endpoint, possible)
            return self._open(endpoint, backlog, possible, mode)
        scheduling = port.scheduling if scheduling is None else _possible(scheduling, endpoint)
        if (port.scheduling, port.backlog) != (scheduling, backlog):
            logger.warning(
                "%s is already open with scheduling %r and backlog %d; ignoring scheduling %r and backlog %d",
                port.address,
                port.scheduling,
                port.backlog,
                scheduling,
                backlog,
            )
        return port

    def another(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint itself; if it asks for a free port, the first such endpoint that is not open yet."""
        while endpoint.port == 0 and not endpoint.path and endpoint in self._by_endpoint:
            endpoint = endpoint._replace(ordinal=endpoint.ordinal + 1)
        return endpoint

    def _open(self, endpoint: Endpoint, backlog: int, scheduling: Any, mode: int | None) -> Port:
        check(scheduling)
        is_inherited = endpoint.fd >= 0
        is_stream = endpoint.type == socket.SOCK_STREAM
        has_own_sockets = is_stream and scheduling in OWN_SOCKETS and _allows_more_sockets(endpoint)
        sock = inherit(endpoint.fd) if is_inherited else bind(endpoint, reuse_port=has_own_sockets)
        try:
            if mode is not None and endpoint.path and not endpoint.path.startswith(b"\0"):
                os.chmod(endpoint.path, mode)  # before listen(): no client can connect yet
            if is_stream and not is_inherited and not has_own_sockets:
                sock.listen(backlog)  # if each worker has a socket of its own, this one only reserves the address
            address = address_of(sock)
            group = None
            if has_own_sockets:
                bound = endpoint._replace(port=address.port)
                group = Group(lambda: bind_another(bound, backlog), scheduling)
            self._last_number += 1
            policy = None
            if is_stream and scheduling not in BY_KERNEL:
                policy = self._policy_of(scheduling)
            port = Port(self._last_number, sock, address, scheduling, policy, backlog, group)
            port.owns_path = bool(endpoint.path)
        except BaseException:
            sock.close()
            raise
        self._by_endpoint[endpoint] = self.by_number[port.number] = port
        if endpoint.port == 0 and not endpoint.path:  # it can also be asked for by the address that it got
            self._by_endpoint.setdefault(Endpoint.of(sock.family, sock.type, sock.getsockname()), port)
        return port

    def _policy_of(self, scheduling: Any) -> Policy[Backend]:
        """A new policy for one port. Each value of ``scheduling`` has one maker: a policy object copies itself."""
        make = self._makers.get(id(scheduling))
        if make is None or make[0] is not scheduling:
            make = self._makers[id(scheduling)] = scheduling, maker(scheduling)
        return make[1]()

    def release(self, backend: Backend, port: Port) -> None:
        """A worker has closed its server. The last one to do so closes the port."""
        port.holders.discard(backend)
        port.stop(backend)
        if not port.holders and not backend.life.takes_connections:
            self._close_unless_needed(port, backend)
        elif not port.holders:
            # Not at once: an exception that ends a worker closes its servers first, and is reported right after.
            asyncio.get_running_loop().call_later(_CLOSE_DELAY, self._close_unless_needed, port, backend)
        elif port.group is not None and not port.is_kept and port.is_alone_in_its_slot(backend):
            if backend.life.is_missed and port.group.is_steered:  # what is queued there waits for the replacement
                port.group.exclude(backend.slot, port.adopt)
            else:
                port.group.remove(backend.slot, port.adopt)

    def stop(self, backend: Backend) -> None:
        """Sends this worker no more connections: it is leaving, or has failed."""
        for port in self.by_number.values():
            port.stop(backend)
            if backend.life.is_leaving and port.group is not None and port.is_alone_in_its_slot(backend):
                port.group.exclude(backend.slot, port.adopt)

    def changed(self, backend: Backend) -> None:
        """This worker's load has changed."""
        for number in backend.ports:
            if (port := self.by_number.get(number)) and port.hears_changes:
                port.changed(backend)

    def forget(self, backend: Backend) -> None:
        """A worker has ended. If it had failed, its ports stay open for its replacement."""
        for port in list(self.by_number.values()):
            port.forget(backend)
            if backend in port.holders:
                self.release(backend, port)

    def _close_unless_needed(self, port: Port, last: Backend) -> None:
        port.is_kept |= last.life.is_missed
        if not port.holders and not port.is_kept and port.number in self.by_number:
            self._close(port)

    def _close(self, port: Port) -> None:
        port.close()
        del self.by_number[port.number]
        self._by_endpoint = {endpoint: one for endpoint, one in self._by_endpoint.items() if one is not port}

    def stats(self) -> tuple[PortStats, ...]:
        """The current numbers of each port."""
        return tuple(port.stats() for port in self.by_number.values())

    def close(self) -> None:
        """Closes every port."""
        for port in list(self.by_number.values()):
            self._close(port)


def _allows_more_sockets(endpoint: Endpoint) -> bool:
    """Whether several sockets can be bound to it."""
    return endpoint.fd < 0 and not endpoint.path


def _possible(scheduling: Any, endpoint: Endpoint) -> Any:
    """The policy to use: ``ip_hash`` instead of `REUSE_PORT_IP_HASH` where the kernel can't do that."""
    if scheduling == REUSE_PORT_IP_HASH and not (_allows_more_sockets(endpoint) and bpf.is_possible()):
        return "ip_hash"
    return scheduling
