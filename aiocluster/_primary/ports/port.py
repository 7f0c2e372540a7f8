"""One shared port: accept, pick, hand over.

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
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..._wire import frames as kinds
from ..._wire.codec import encode
from ...address import Address
from ...scheduling import Peeking, Policy, RoundRobin
from ...stats import ListenerStats
from .peek import Peeker

if TYPE_CHECKING:
    from .backend import Backend
    from .reuse_port import Group

logger = logging.getLogger("aiocluster.listeners")

WINDOW = 64
"""The most connections a worker has been sent and has not taken yet."""

_ACCEPTS_PER_TURN = 64
_PAUSE = 0.1  # seconds without accepting once descriptors or memory have run out
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Connection = tuple[int, Any, bytes | None]
"""An accepted connection: its descriptor, which the primary owns until a worker has taken it, its client, and its first
bytes if the policy has wanted to see them."""


class Listener:
    """One shared port.

    Args:
        number: What frames call it.
        sock: Bound, and listening unless it is a UDP socket.
        scheduling: What `Settings.scheduling` may be.
        policy: The policy of this port; None: the primary does not accept on it.
        backlog: What it listens with.
        group: The workers' own sockets, if the policy is ``reuse_port``.

    Attributes:
        address: Where it is bound.
        holders: Who has it open.
        owns_path: Whether the file of its Unix socket goes with it; an inherited one is somebody else's.
        is_kept: Whether it stays open without holders: the last one ended unasked, or the user opened it.
        accepted: How many connections the primary has accepted.
    """

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        address: Address,
        scheduling: Any,
        policy: Policy[Backend] | None,
        backlog: int,
        group: Group | None,
    ) -> None:
        self.number = number
        self.sock = sock
        self.address = address
        self.scheduling = scheduling
        self.backlog = backlog
        self.group = group
        self.holders: set[Backend] = set()
        self.owns_path = False
        self.is_kept: bool = False
        self.accepted: int = 0
        self.hands_over: bool = policy is not None
        self._policy: Policy[Backend] = policy if policy is not None else RoundRobin()
        self._fallback: RoundRobin[Backend] = RoundRobin()
        self._peeker = Peeker(policy, self._hand_over) if isinstance(policy, Peeking) else None
        self._outstanding: dict[Backend, deque[Connection]] = {}
        self._pickable: set[Backend] = set()
        self._in_backoff: dict[Backend, asyncio.TimerHandle] = {}
        self._pending: deque[Connection] = deque()
        self._is_accepting = False
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None

    def sock_for(self, backend: Backend) -> socket.socket:
        """The listening socket that this worker gets to see.

        Raises:
            OSError: One of its own can't be opened.
        """
        return self.sock if self.group is None else self.group.sock_for(backend.slot, backend.weight)

    def is_alone_in_its_place(self, backend: Backend) -> bool:
        """Whether nobody else has this worker's place: during a reload its replacement has."""
        return all(other is backend or other.slot != backend.slot for other in self.holders)

    # ---- who serves

    def serve(self, backend: Backend) -> None:
        """This worker takes connections from now on."""
        self.is_kept = False
        if backend not in self._outstanding:
            self._outstanding[backend] = deque()
            if backend not in self._in_backoff:
                self._has_room(backend)

    def stop(self, backend: Backend) -> None:
        """Sends this worker no more; what it has not taken yet it may still take, or return."""
        if backend in self._pickable:
            self._is_full(backend)
        if backend in self._outstanding:
            self._fallback.forget(backend)
            self._tell_policy("forget", backend)
        if not self._outstanding.get(backend, True):
            del self._outstanding[backend]

    def forget(self, backend: Backend) -> None:
        """This worker is gone: what it had not taken goes elsewhere."""
        self.stop(backend)
        lost = self._outstanding.pop(backend, ())
        backend.redispatched += len(lost)
        backend.under_way -= len(lost)
        backend.tell_policies()
        self._pending.extend(lost)
        self._hand_over_pending()

    def taken(self, backend: Backend, count: int, returned: int) -> None:
        """Of what this worker was sent, the first ``count`` are served; the next ``returned`` will not be."""
        outstanding = self._outstanding[backend]
        for _ in range(count):
            os.close(outstanding.popleft()[0])
        for _ in range(returned):
            self._pending.append(outstanding.popleft())
        backend.under_way -= count + returned
        if returned:
            backend.tell_policies()
        if backend not in self.holders or not backend.takes_connections:
            if not outstanding:
                del self._outstanding[backend]
        elif returned:
            self._back_off(backend)
        elif backend not in self._pickable and backend not in self._in_backoff and len(outstanding) < WINDOW:
            self._has_room(backend)
        self._hand_over_pending()

    def _back_off(self, backend: Backend) -> None:
        """This worker, which serves, could not take what it was sent: it is out of descriptors, and is let alone."""
        if backend in self._pickable:
            self._is_full(backend)
        if backend not in self._in_backoff:
            self._in_backoff[backend] = self._loop.call_later(_PAUSE, self._backoff_over, backend)

    def _backoff_over(self, backend: Backend) -> None:
        del self._in_backoff[backend]
        outstanding = self._outstanding.get(backend)
        if outstanding is None or backend not in self.holders or not backend.takes_connections:
            return
        if backend not in self._pickable and len(outstanding) < WINDOW:
            self._has_room(backend)

    def changed(self, backend: Backend) -> None:
        """This worker's ``connections`` or ``delay`` have changed."""
        self._tell_policy("changed", backend)

    def _has_room(self, backend: Backend) -> None:
        self._pickable.add(backend)
        self._fallback.add(backend)
        self._tell_policy("add", backend)
        self._hand_over_pending()
        self._resume()

    def _is_full(self, backend: Backend) -> None:
        self._pickable.discard(backend)
        self._fallback.remove(backend)
        self._tell_policy("remove", backend)
        if not self._pickable:
            self._pause()

    # ---- accept and hand over

    def _resume(self) -> None:
        if self.hands_over and not self._is_accepting and self._retry is None and self._pickable:
            self._is_accepting = True
            self._loop.add_reader(self.sock.fileno(), self._on_readable)

    def _pause(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self.sock.fileno())

    def _on_readable(self) -> None:
        accepted = self._accept(self.sock)
        self._hand_over(accepted)

    def _accept(self, sock: socket.socket) -> list[Connection]:
        accept = sock._accept  # type: ignore[attr-defined]  # accept() without a socket object for each
        accepted: list[Connection] = []
        try:
            while len(accepted) < _ACCEPTS_PER_TURN:
                accepted.append((*accept(), None))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            if error.errno in _EXHAUSTED:
                logger.error("%s: can't accept (%s); trying again in %s s", self.address, error.strerror, _PAUSE)
                self._pause()
                if self._retry is None:
                    self._retry = self._loop.call_later(_PAUSE, self._try_again)
                if self._peeker is not None:
                    self._peeker.hurry()
            # else the client has gone meanwhile (ECONNABORTED and its like, accept(2)): the next one is waiting
        self.accepted += len(accepted)
        return accepted

    def _try_again(self) -> None:
        self._retry = None
        self._resume()
        if self.group is not None:
            self.group.tidy(self.adopt)

    def adopt(self, sock: socket.socket) -> bool:
        """Takes over what waits in the queue of a worker's own socket; says whether that was all."""
        while accepted := self._accept(sock):
            self._hand_over(accepted)
        return self._retry is None

    def _hand_over_pending(self) -> None:
        """Hands over what has lost its worker."""
        if self._pending and self._pickable:
            homeless, self._pending = self._pending, deque()
            self._hand_over(homeless)

    def _hand_over(self, connections: Iterable[Connection]) -> None:
        """Picks a worker for each, and sends each worker its batch; what no worker has room for waits."""
        batches: dict[Backend, list[int]] = {}
        for connection in connections:
            fd, client, first = connection
            if first is None and self._peeker is not None:
                self._peeker.take(fd, client)  # and it will be back
                continue
            if not self._pickable:
                self._pending.append(connection)
                continue
            backend = self._pick(client, first)
            outstanding = self._outstanding[backend]
            outstanding.append(connection)
            backend.under_way += 1
            batches.setdefault(backend, []).append(fd)
            if len(outstanding) >= WINDOW:
                self._is_full(backend)
        for backend, fds in batches.items():
            if not backend.channel.is_closed:  # else it will be forgotten in a moment
                backend.channel.send(encode(kinds.CONNECTIONS, self.number, len(fds)), fds)

    # ---- a policy may be the user's own

    def _pick(self, client: Any, first: bytes | None) -> Backend:
        """What the policy picks; if that is nonsense, whose turn it is."""
        try:
            backend = self._policy.pick(client) if first is None else self._policy.pick_by(client, first)  # type: ignore[attr-defined]
            if backend in self._pickable:  # raises for what is unhashable
                return backend
        except Exception:
            logger.exception("%s: the policy raised; that connection goes by turns", self.address)
        else:
            logger.error("%s: the policy picked %r, which is not to be picked now", self.address, backend)
        return self._fallback.pick(client)

    def _tell_policy(self, what: str, backend: Backend) -> None:
        tell = getattr(self._policy, what, None)  # `forget` and `changed` it may lack
        try:
            if tell is not None:
                tell(backend)
        except Exception:
            logger.exception("%s: the policy raised", self.address)

    # ---- the end

    def stats(self) -> ListenerStats:
        """What is known of it now."""
        waiting = len(self._pending) + sum(map(len, self._outstanding.values()))
        if self._peeker is not None:
            waiting += len(self._peeker)
        return ListenerStats(self.address, _name_of(self.scheduling), self.accepted, waiting)

    def close(self) -> None:
        """Closes the port, and every connection that no worker has taken."""
        self._pause()
        if self._retry is not None:
            self._retry.cancel()
        for timer in self._in_backoff.values():
            timer.cancel()
        self._in_backoff.clear()
        if self._peeker is not None:
            self._peeker.close()
        for backend, outstanding in self._outstanding.items():
            backend.channel.withdraw({fd for fd, _, _ in outstanding})
        for connections in (*self._outstanding.values(), self._pending):
            for fd, _, _ in connections:
                os.close(fd)
            connections.clear()
        self._outstanding.clear()
        self._pickable.clear()
        if self.group is not None:
            self.group.close()
        if self.owns_path and self.address.path is not None and not self.address.path.startswith("\0"):
            with contextlib.suppress(OSError):
                os.unlink(self.address.path)
        self.sock.close()


def _name_of(scheduling: Any) -> str:
    if isinstance(scheduling, str):
        return scheduling
    return getattr(scheduling, "__qualname__", type(scheduling).__qualname__)
