"""All shared ports of a primary: which worker asks for which endpoint, and how long each port stays open.

A port stays open while a worker has it, while the user has opened it in the primary, and while the replacement of a
worker that failed may still ask for it. When the last of these reasons is gone, it closes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..._wire.endpoint import Endpoint
from ..._wire.socket_file import whole_path
from ...scheduling import Policy
from ...scheduling._registry import BY_KERNEL, OWN_SOCKETS, REUSE_PORT_IP_HASH, check, maker
from ...stats import PortStats
from . import bpf
from .bind import address_of, bind, bind_another, bind_path, inherit
from .port import Port
from .pressure import Pressure
from .reuse_port import Group
from .socket_file import SocketFile, own_file
from .turns import Turns
from .waits import Waits

if TYPE_CHECKING:
    from .backend import Backend

logger = logging.getLogger("aiocluster.ports")

_PASS_INTERVAL = 0.005  # seconds between two passes over the ports that are being closed
_HANDSHAKE_TIMEOUT = 0.1  # seconds for clients whose handshake had begun when new ones were refused
_TAKE_TIMEOUT = 1.0  # seconds for workers to take what they have been sent
_MOST_LEFT_FILES = 1024
"""Of how many files of closed Unix sockets the primary remembers that they are to be removed. Others stay."""

Place = int | str
"""What a worker's replacement inherits: the number of its slot, or an agent's name."""

_FIRST_AGENT = 1 << 16  # beyond all slots


@dataclass(slots=True)
class _Left:
    """The ports that the failed worker of one place has left for its replacement.

    Attributes:
        slot: The number of its slot.
        ports: These ports.
        count: How many ports it listened on.
    """

    slot: int
    ports: set[Port] = field(default_factory=set)
    count: int = 0


class PortTable:
    """All shared ports of a primary, by endpoint and by number.

    Attributes:
        by_number: The open ports, by the number that frames call them by.
        is_closed: Whether all ports have been closed for good. Workers that still ask for one get it, without clients.
        turns: Whose turn it is to bind a Unix path.
        pressure: Tells when connections wait because no worker has room.
        waits: Counts connections by how long they waited; None: nobody wants to know.
    """

    def __init__(self) -> None:
        self._by_endpoint: dict[Endpoint, Port] = {}
        self.by_number: dict[int, Port] = {}
        self.turns: Turns = Turns()
        self.pressure: Pressure = Pressure(self.by_number.values)
        self.is_closed: bool = False
        self.waits: Waits | None = None
        self._last_number = 0
        self._left: dict[Place, _Left] = {}
        self._agents: dict[str, int] = {}
        self._left_files: dict[bytes, SocketFile] = {}  # of closed ports, to be removed at the end
        self._makers: dict[int, tuple[Any, Callable[[], Policy[Backend]]]] = {}

    def time_waits(self) -> Waits:
        """Counts connections, from now on, by how long they waited until a worker took them."""
        if self.waits is None:
            self.waits = Waits()
            for port in self.by_number.values():
                port.waits = self.waits
        return self.waits

    def open(
        self,
        endpoint: Endpoint,
        *,
        backlog: int,
        scheduling: Any,
        default: Any,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> Port:
        """Returns the port for this endpoint, and binds it with the primary's rights if it is not open yet.

        Nobody can connect to a new one until `listen`, except where each worker gets a socket of its own.

        Args:
            endpoint: Where to listen.
            backlog: The backlog of a new port.
            scheduling: The policy that was asked for; None: no particular one.
            default: The policy of a new port if no particular one was asked for.
            mode: The permissions of a new Unix socket's file; None: as the umask has it.
            uid: The owner of this file; None: this process's user.
            gid: The group of this file; None: this process's group.

        Raises:
            ValueError: There is no such policy.
            OSError: It can't be opened, see ``bind(2)``.
        """
        port = self._by_endpoint.get(endpoint)
        if port is None:
            preferred = default if scheduling is None else scheduling
            possible = _possible(preferred, endpoint)
            if possible is not preferred:
                logger.warning("%s: the kernel can't choose by client address; using %r instead", endpoint, possible)
            if not endpoint.path:
                return self._open(endpoint, backlog, possible)
            sock = bind_path(endpoint.path, mode=mode, uid=uid, gid=gid)
            return self._open(endpoint, backlog, possible, sock, own_file(endpoint.path))
        scheduling = port.scheduling if scheduling is None else _possible(scheduling, endpoint)
        is_other_backlog = port.backlog != backlog and not port.is_inherited  # else whoever opened it has chosen
        if port.scheduling != scheduling or is_other_backlog:
            logger.warning(
                "%s is already open with scheduling %r and backlog %d; ignoring scheduling %r and backlog %d",
                port.address,
                port.scheduling,
                port.backlog,
                scheduling,
                backlog,
            )
        return port

    def listen(self, port: Port) -> None:
        """Lets clients connect, unless all ports have been closed.

        Raises:
            OSError: They can't, see ``listen(2)``. A port that nobody has closes.
        """
        if self.is_closed:
            return
        try:
            port.listen()
        except OSError:
            if not port.holders:
                self._close_unless_wanted(port)
            raise

    def at(self, endpoint: Endpoint, inode: list[int] | None) -> Port | None:
        """The open port of a Unix path, if a worker that asks for it can see its file there; None: it may bind anew.

        Args:
            endpoint: The path.
            inode: What the worker sees there, see `frames.Listen`.
        """
        if inode:
            for port in self.by_number.values():
                if port.file is not None and port.file.inode == tuple(inode):
                    return port
        known = self._by_endpoint.get(endpoint)
        # A port without a file of ours is abstract or inherited. One that the worker may not look at is the user's.
        return known if known is not None and (inode is None or known.file is None) else None

    def share(
        self,
        endpoint: Endpoint,
        sock: socket.socket,
        file: SocketFile | None,
        *,
        backlog: int,
        scheduling: Any,
        default: Any,
        by: Backend,
    ) -> Port:
        """Returns the port of a Unix path that a worker has bound.

        If other workers have that path open, its file had been removed. Then their port moves to the new socket, so
        that whoever connects reaches them, too.

        Args:
            endpoint: The path.
            sock: The bound socket. The port owns it.
            file: Its file; None: it has none.
            backlog: As for `open`.
            scheduling: As for `open`.
            default: As for `open`.
            by: The worker.

        Raises:
            ValueError: There is no such policy.
        """
        port = self._by_endpoint.get(endpoint)
        if port is not None and by not in port.holders:
            port.move(sock, file)
            return port
        preferred = default if scheduling is None else scheduling
        return self._open(endpoint, backlog, _possible(preferred, endpoint), sock, file)

    def is_offered(self, fd: int) -> bool:
        """Whether workers with other rights may have this descriptor of the primary's.

        The user has made it a port, or it has been inherited and would be inherited on: it can't be a secret.
        """
        if Endpoint(socket.AF_UNSPEC, socket.SOCK_STREAM, fd=fd) in self._by_endpoint:
            return True
        return os.get_inheritable(fd)

    def another(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint itself; if it asks for a free port, the first such endpoint that is not open yet."""
        while endpoint.port == 0 and not endpoint.path and endpoint in self._by_endpoint:
            endpoint = endpoint._replace(ordinal=endpoint.ordinal + 1)
        return endpoint

    def _open(
        self,
        endpoint: Endpoint,
        backlog: int,
        scheduling: Any,
        sock: socket.socket | None = None,
        file: SocketFile | None = None,
    ) -> Port:
        """Opens the port; ``sock`` and ``file``, if it is a Unix path, have been made already."""
        is_inherited = endpoint.fd >= 0
        is_stream = endpoint.type == socket.SOCK_STREAM
        has_own_sockets = is_stream and scheduling in OWN_SOCKETS and _allows_more_sockets(endpoint)
        if sock is None:
            check(scheduling)
            sock = inherit(endpoint.fd) if is_inherited else bind(endpoint, reuse_port=has_own_sockets)
        try:
            check(scheduling)
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
            port.file = file
            port.is_inherited = is_inherited
            port.stirred = self.pressure.stir
            port.waits = self.waits
        except BaseException:
            sock.close()
            raise
        self._by_endpoint[endpoint] = self.by_number[port.number] = port
        if endpoint.port == 0 and not endpoint.path:  # it can also be asked for by the address that it got
            name = sock.getsockname()
            if sock.family == socket.AF_UNIX:
                name = whole_path(name)
            self._by_endpoint.setdefault(Endpoint.of(sock.family, sock.type, name), port)
        return port

    def _policy_of(self, scheduling: Any) -> Policy[Backend]:
        """A new policy for one port. Each value of ``scheduling`` has one maker: a policy object copies itself."""
        make = self._makers.get(id(scheduling))
        if make is None or make[0] is not scheduling:
            make = self._makers[id(scheduling)] = scheduling, maker(scheduling)
        return make[1]()

    def release(self, backend: Backend, port: Port) -> None:
        """A worker serves this port no more. If nobody else may want it, it closes at once."""
        if backend not in port.holders:
            return
        is_alone = port.group is not None and port.is_alone_in_its_slot(backend)
        port.holders.discard(backend)
        port.stop(backend)
        if backend.life.is_missed:
            self._leave(backend, port)
        if not port.holders:
            self._close_unless_wanted(port)
        elif port.group is not None and is_alone:
            if backend.life.is_missed and port.group.is_steered:  # what is queued there waits for the replacement
                port.group.exclude(backend.slot, port.adopt)
            else:
                port.group.remove(backend.slot, port.adopt)

    def stop(self, backend: Backend) -> None:
        """Sends this worker no more connections: it is leaving, or has failed.

        Ports that nobody else may want close now, not when it ends: clients that it would not serve are refused.
        """
        for port in list(self.by_number.values()):
            if backend not in port.holders:
                port.stop(backend)
            elif backend.life.is_missed:
                self.release(backend, port)
            elif len(port.holders) > 1 or self._is_wanted(port) or not port.is_stream:
                port.stop(backend)
                if port.group is not None and port.is_alone_in_its_slot(backend):
                    port.group.exclude(backend.slot, port.adopt)
            else:
                port.begin_closing()
                port.take_in()
                self._close(port)

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

    def number_of(self, place: Place) -> int:
        """Returns the number by which policies know a place: the slot's own, or an agent's, which is no slot's."""
        return place if isinstance(place, int) else self._agents.setdefault(place, _FIRST_AGENT + len(self._agents))

    # ---- ports that a failed worker has left

    @property
    def left(self) -> Collection[Place]:
        """The places whose workers have failed and left ports for their replacements."""
        return self._left.keys()

    def leave_all(self, backend: Backend) -> None:
        """This worker is told to leave, and another one will take its place only after it."""
        for port in self.by_number.values():
            if backend in port.holders:
                self._leave(backend, port)

    def _leave(self, backend: Backend, port: Port) -> None:
        left = self._left.setdefault(backend.place, _Left(backend.slot))
        left.ports.add(port)
        left.count = max(left.count, len(backend.ports))

    def got(self, backend: Backend, port: Port) -> None:
        """A worker has been given this port."""
        port.holders.add(backend)
        if (left := self._left.get(backend.place)) and not backend.life.is_missed:
            left.ports.discard(port)

    def serving(self, backend: Backend) -> None:
        """A worker listens on one port more. When it has as many as its predecessor had, it wants no others."""
        if (left := self._left.get(backend.place)) and len(backend.ports) >= left.count:
            self.abandon(backend.place)

    def abandon(self, place: Place) -> None:
        """Nobody will come any more for the ports that the failed worker of this place has left."""
        if left := self._left.pop(place, None):
            for port in left.ports:
                if not port.holders:
                    self._close_unless_wanted(port)
                elif port.group is not None and all(holder.slot != left.slot for holder in port.holders):
                    port.group.remove(left.slot, port.adopt)

    def _is_wanted(self, port: Port) -> bool:
        """Whether it stays open without holders."""
        return port.is_users or any(port in left.ports for left in self._left.values())

    def _close_unless_wanted(self, port: Port) -> None:
        if not self._is_wanted(port) and port.number in self.by_number:
            self._close(port)

    # ---- the end

    async def drain(self, *, users: bool) -> None:
        """Closes all ports, so that each client that has been let in is served, and each later one refused.

        Call it before the workers are told to leave. UDP ports stay open: the workers read them until they leave.

        Args:
            users: Whether to close the ports that the user has opened in the primary, too: for good.
        """
        self.is_closed |= users
        ports = [port for port in self.by_number.values() if port.is_stream and (users or not port.is_users)]
        loop = asyncio.get_running_loop()
        began = loop.time()
        had_connections = any(port.has_had_connections for port in ports)
        for port in ports:
            port.begin_closing()
        try:
            while True:
                for port in ports:
                    if port.number in self.by_number:  # else its last worker has gone meanwhile
                        port.take_in()
                seconds = loop.time() - began
                is_idle = all(port.is_idle for port in ports)
                if seconds >= _TAKE_TIMEOUT or (is_idle and not (had_connections and seconds < _HANDSHAKE_TIMEOUT)):
                    break
                await asyncio.sleep(_PASS_INTERVAL)
        finally:
            for port in ports:
                if port.number in self.by_number:
                    self._close(port)

    def _close(self, port: Port) -> None:
        if port.file is not None and port.file.cleanup:
            port.file.remove()
        elif port.file is not None and port.file.cleanup is None and len(self._left_files) < _MOST_LEFT_FILES:
            self._left_files[port.file.path] = port.file
        port.close()
        del self.by_number[port.number]
        self._by_endpoint = {endpoint: one for endpoint, one in self._by_endpoint.items() if one is not port}

    def stats(self) -> tuple[PortStats, ...]:
        """The current numbers of each port."""
        return tuple(port.stats() for port in self.by_number.values())

    def close(self) -> None:
        """Closes every port at once, and removes the files of sockets that workers' servers have left behind."""
        self.pressure.watch(None)
        for port in list(self.by_number.values()):
            self._close(port)
        for file in self._left_files.values():
            file.remove()
        self._left_files.clear()


def _allows_more_sockets(endpoint: Endpoint) -> bool:
    """Whether several sockets can be bound to it."""
    return endpoint.fd < 0 and not endpoint.path


def _possible(scheduling: Any, endpoint: Endpoint) -> Any:
    """The policy to use: ``ip_hash`` instead of `REUSE_PORT_IP_HASH` where the kernel can't do that."""
    if scheduling == REUSE_PORT_IP_HASH and not (_allows_more_sockets(endpoint) and bpf.is_possible()):
        return "ip_hash"
    return scheduling
