"""The shared ports: open, hand out, accept, hand over.

::

    accept (as many as wait) ─▶ policy picks ─▶ one frame a worker, with its batch of descriptors
                                                    │
              the worker has made transports of them: TAKEN ─▶ only now the primary's copies are closed

Until then they are the primary's: if the worker dies, or says it will not take them, they go to another one. A worker
has at most `WINDOW` of them outstanding; when all windows are full nothing is accepted, and clients wait in the
kernel's backlog.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import stat
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..events import Address
from ..stats import ListenerStats
from ..wire import messages as kinds
from ..wire.codec import encode
from .scheduling import POLICIES, SHARED, Policy

if TYPE_CHECKING:
    from .process import WorkerProcess

logger = logging.getLogger("aiocluster.listeners")

WINDOW = 64
"""The most connections a worker has been sent and has not taken yet."""

_ACCEPTS_PER_TURN = 64
_PAUSE = 0.1  # seconds without accepting once descriptors or memory have run out
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FAMILIES = {
    (socket.AF_INET, socket.SOCK_STREAM): "tcp4",
    (socket.AF_INET6, socket.SOCK_STREAM): "tcp6",
    (socket.AF_INET, socket.SOCK_DGRAM): "udp4",
    (socket.AF_INET6, socket.SOCK_DGRAM): "udp6",
    (socket.AF_UNIX, socket.SOCK_STREAM): "unix",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a worker asks for. ``ordinal`` tells several ports 0 of one worker apart: the first is the same for all."""

    family: int
    type: int
    host: str = ""
    port: int = 0
    path: str = ""
    ordinal: int = 0


Connection = tuple[int, Any]
"""An accepted connection: its descriptor, which the primary owns until a worker has taken it, and its client."""


class Listener:
    """One shared port.

    Args:
        number: What frames call it.
        sock: Bound, and listening unless it is a UDP socket.
        scheduling: Its policy's name.
    """

    def __init__(self, number: int, sock: socket.socket, scheduling: str, backlog: int) -> None:
        self.number = number
        self.sock = sock
        self.scheduling = scheduling
        self.backlog = backlog
        self.address = address_of(sock)
        self.holders: set[WorkerProcess] = set()
        self.is_kept = False
        self.accepted = 0
        self._policy: Policy[WorkerProcess] | None = None if scheduling == SHARED else POLICIES[scheduling]()
        self._serving: dict[WorkerProcess, deque[Connection]] = {}
        self._pickable: set[WorkerProcess] = set()
        self._homeless: deque[Connection] = deque()
        self._is_accepting = False
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None

    @property
    def hands_over(self) -> bool:
        """Whether the primary accepts and hands over; otherwise the workers accept by themselves."""
        return self._policy is not None and self.sock.type == socket.SOCK_STREAM

    # ---- who serves

    def serve(self, worker: WorkerProcess) -> None:
        """This worker takes connections from now on."""
        self.is_kept = False
        if self.hands_over and worker not in self._serving:
            self._serving[worker] = deque()
            self._has_room(worker)

    def stop(self, worker: WorkerProcess) -> None:
        """Sends this worker no more; what it has not taken yet it may still take, or return."""
        if worker in self._pickable:
            self._is_full(worker)
        if worker in self._serving and not self._serving[worker]:
            del self._serving[worker]

    def forget(self, worker: WorkerProcess) -> None:
        """This worker is gone: what it had not taken goes elsewhere."""
        self.stop(worker)
        lost = self._serving.pop(worker, ())
        worker.redispatched += len(lost)
        self._homeless.extend(lost)
        self._house()

    def taken(self, worker: WorkerProcess, count: int, returned: int) -> None:
        """Of what this worker was sent, the first ``count`` are served; the next ``returned`` will not be."""
        outstanding = self._serving[worker]
        for _ in range(count):
            os.close(outstanding.popleft()[0])
        for _ in range(returned):
            self._homeless.append(outstanding.popleft())
        if not self._may_pick(worker):
            if not outstanding:
                del self._serving[worker]
        elif worker not in self._pickable and len(outstanding) < WINDOW:
            self._has_room(worker)
        self._house()

    def _may_pick(self, worker: WorkerProcess) -> bool:
        return worker in self.holders and worker.takes_connections

    def _has_room(self, worker: WorkerProcess) -> None:
        assert self._policy is not None
        self._pickable.add(worker)
        self._policy.add(worker)
        self._house()
        self._resume()

    def _is_full(self, worker: WorkerProcess) -> None:
        assert self._policy is not None
        self._pickable.discard(worker)
        self._policy.remove(worker)
        if not self._pickable:
            self._pause()

    # ---- accept and hand over

    def _resume(self) -> None:
        if not self._is_accepting and self._retry is None and self._pickable and self.sock.fileno() >= 0:
            self._is_accepting = True
            self._loop.add_reader(self.sock.fileno(), self._on_readable)

    def _pause(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self.sock.fileno())

    def _on_readable(self) -> None:
        accept = self.sock._accept  # type: ignore[attr-defined]  # accept() without a socket object for each
        accepted: list[Connection] = []
        try:
            while len(accepted) < _ACCEPTS_PER_TURN:
                accepted.append(accept())
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            if error.errno in _EXHAUSTED:
                logger.error("%s: can't accept (%s); trying again in %s s", self.address, error.strerror, _PAUSE)
                self._pause()
                self._retry = self._loop.call_later(_PAUSE, self._try_again)
            # else the client has gone meanwhile (ECONNABORTED and its like, accept(2)): the next one is waiting
        self.accepted += len(accepted)
        self._hand_over(accepted)

    def _try_again(self) -> None:
        self._retry = None
        self._resume()

    def _house(self) -> None:
        """Hands over what has lost its worker."""
        if self._homeless and self._pickable:
            homeless, self._homeless = self._homeless, deque()
            self._hand_over(homeless)

    def _hand_over(self, connections: Iterable[Connection]) -> None:
        """Picks a worker for each, and sends each worker its batch; what no worker has room for waits."""
        policy = self._policy
        assert policy is not None
        batches: dict[WorkerProcess, list[int]] = {}
        for connection in connections:
            if not self._pickable:
                self._homeless.append(connection)
                continue
            worker = policy.pick(connection[1])
            outstanding = self._serving[worker]
            outstanding.append(connection)
            batches.setdefault(worker, []).append(connection[0])
            if len(outstanding) >= WINDOW:
                self._is_full(worker)
        for worker, fds in batches.items():
            if not worker.channel.is_closed:  # else it will be forgotten in a moment
                worker.channel.send(encode(kinds.CONNECTIONS, self.number, len(fds)), fds)

    def stats(self) -> ListenerStats:
        """What is known of it now."""
        waiting = len(self._homeless) + sum(map(len, self._serving.values()))
        return ListenerStats(self.address, self.scheduling, self.accepted, waiting)

    def close(self) -> None:
        """Closes the port, and every connection that no worker has taken."""
        self._pause()
        if self._retry is not None:
            self._retry.cancel()
        for connections in (*self._serving.values(), self._homeless):
            for fd, _ in connections:
                os.close(fd)
            connections.clear()
        self._serving.clear()
        self._pickable.clear()
        if self.address.path is not None and not self.address.path.startswith("\0"):
            with contextlib.suppress(OSError):
                os.unlink(self.address.path)
        self.sock.close()


class Listeners:
    """All shared ports of a primary."""

    def __init__(self) -> None:
        self._by_wanted: dict[Wanted, Listener] = {}
        self._by_number: dict[int, Listener] = {}
        self._last_number = 0

    def open(self, wanted: Wanted, *, backlog: int, scheduling: str) -> Listener:
        """The port that was asked for: the one that is open already, or a new one.

        Raises:
            OSError: It can't be opened, as ``bind(2)`` or ``listen(2)`` say.
        """
        listener = self._by_wanted.get(wanted)
        if listener is None:
            sock = _bind(wanted)
            try:
                if wanted.type == socket.SOCK_STREAM:
                    sock.listen(backlog)
            except BaseException:
                sock.close()
                raise
            self._last_number += 1
            listener = Listener(self._last_number, sock, scheduling, backlog)
            self._by_wanted[wanted] = self._by_number[listener.number] = listener
            if wanted.port == 0 and not wanted.path:  # found under the port that it has got, too
                self._by_wanted[replace(wanted, port=listener.address.port, ordinal=0)] = listener
        elif (listener.scheduling, listener.backlog) != (scheduling, backlog):
            logger.warning(
                "%s is open with scheduling %r and backlog %d; a worker that asks for %r and %d gets it as it is",
                listener.address,
                listener.scheduling,
                listener.backlog,
                scheduling,
                backlog,
            )
        return listener

    def get(self, number: int) -> Listener | None:
        """The port of that number; None if it has been closed meanwhile."""
        return self._by_number.get(number)

    def release(self, worker: WorkerProcess, listener: Listener) -> None:
        """A worker has closed its server: the last one closes the port."""
        listener.holders.discard(worker)
        listener.stop(worker)
        if not listener.holders and not listener.is_kept:
            self._close(listener)

    def stop(self, worker: WorkerProcess) -> None:
        """Sends this worker no more connections: it leaves, or has failed."""
        for listener in self._by_number.values():
            listener.stop(worker)

    def forget(self, worker: WorkerProcess, *, voluntary: bool) -> None:
        """A worker is gone. The ports of one that did not mean to go stay open for its replacement."""
        for listener in list(self._by_number.values()):
            if worker in listener.holders:
                listener.is_kept |= not voluntary
                listener.forget(worker)
                self.release(worker, listener)
            else:
                listener.forget(worker)

    def stats(self) -> tuple[ListenerStats, ...]:
        """What is known of each port now."""
        return tuple(listener.stats() for listener in self._by_number.values())

    def _close(self, listener: Listener) -> None:
        listener.close()
        del self._by_number[listener.number]
        self._by_wanted = {wanted: one for wanted, one in self._by_wanted.items() if one is not listener}

    def close(self) -> None:
        """Closes every port."""
        for listener in list(self._by_number.values()):
            self._close(listener)


def _bind(wanted: Wanted) -> socket.socket:
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
