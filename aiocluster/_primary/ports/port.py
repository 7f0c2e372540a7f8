"""One shared port: accept, pick a worker, hand over.

::

    accept (while a worker has room) ─▶ policy picks ─▶ one frame per worker, with its batch of descriptors
                                                            │
              the worker has made transports of them: TAKEN ─▶ only now the primary closes its copies
                     their first requests have been served: READY ─▶ the worker has room again

Until they are taken, the connections belong to the primary: if the worker ends or returns them, they go to another
worker. How many a worker may have that it is not ready with, says its `Window`. If no worker has room, the primary does
not accept: clients wait in the kernel's backlog for whichever worker has room first. It waits for a moment, too, if the
policy would rather have a worker that has no room (`Policy.awaited`). A worker that is late to say that it is ready is
passed over.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..._wire import frames as kinds
from ..._wire.codec import encode
from ..._wire.endpoint import queue_length
from ..._wire.handles import closer
from ..._wire.queue_time import TICK, QueueTimes
from ...address import Address
from ...errors import ProtocolError
from ...scheduling import Peeking, Policy
from ...stats import PortStats
from .guarded_policy import GuardedPolicy
from .pauses import Pauses
from .peek import Connection, Peeker
from .shut import close_everywhere, refuse_new
from .waits import BOUNDS, Waits
from .window import Window, usual_seconds

if TYPE_CHECKING:
    from .backend import Backend
    from .reuse_port import Group
    from .socket_file import SocketFile

logger = logging.getLogger("aiocluster.ports")

_ACCEPTS_PER_TURN = 64
_BACKOFF = 0.1  # seconds without accepting, or without sending, after descriptors or memory have run out
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Port:
    """One shared port.

    Args:
        number: Its number in frames.
        sock: Its socket, bound, and listening unless it is a UDP socket. The port owns it.
        address: Where it is bound.
        scheduling: Its policy as the user named it, see `Settings.scheduling`.
        policy: The policy itself; None: the primary does not accept on this port.
        backlog: How many connections the kernel keeps waiting.
        group: The workers' own sockets, if the policy is one of `OWN_SOCKETS`.

    Attributes:
        holders: The workers that have it open.
        hands_over: Whether the primary accepts and hands connections over; else the workers accept.
        file: The Unix socket's file; None if it has none, or is inherited.
        is_stream: Whether clients connect to it; else it is a UDP port.
        is_inherited: Whether others have its socket, too, and go on with it: the user's program, a service manager.
        is_users: Whether the user opened it in the primary, so that it stays open without holders.
        accepted: How many connections the primary has accepted.
        waits: Counts connections by how long they waited; None: nobody wants to know.
        stirred: Called when a worker has been sent connections.
        hears_changes: Whether its policy wants to know when a worker's load has changed.
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
        self.sock: socket.socket = sock
        self.address = address
        self.scheduling = scheduling
        self.backlog = backlog
        self.group = group
        self.holders: set[Backend] = set()
        self.is_stream: bool = sock.type == socket.SOCK_STREAM
        self.is_inherited: bool = False
        self.is_users: bool = False
        self.file: SocketFile | None = None
        self.stirred: Callable[[], None] = _nothing
        self._moved_from: list[socket.socket] = []
        self.accepted: int = 0
        self.waits: Waits | None = None
        self._queue_times = QueueTimes(sock.family)
        self._queue_was_empty = 0.0  # the last time when no connection waited in the kernel's queue
        self.hands_over: bool = policy is not None
        self._policy = GuardedPolicy(policy, address)
        self._pickable = self._policy.pickable
        self.hears_changes: bool = self._policy.hears_changes
        self._peeker: Peeker | None = None
        if isinstance(policy, Peeking):
            self._peeker = Peeker(policy, self._policy.has_enough, self._hand_over)
        self._policy.attach(self._is_ready)
        self._is_sticky = bool(getattr(policy, "sticky", True))
        self._may_pull = bool(getattr(policy, "pulls", False))
        self._windows: dict[Backend, Window] = {}
        self._outstanding: dict[Backend, deque[Connection]] = {}
        self._in_backoff: dict[Backend, asyncio.TimerHandle] = {}
        self._pending: deque[Connection] = deque()
        self._is_accepting = False
        self._pauses = Pauses(self._policy.settle, lambda: self.windows)
        self._hold: asyncio.TimerHandle | None = None  # the primary does not accept until then, or until one is ready
        self._is_closing = False
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None

    def listen(self) -> None:
        """Lets clients connect, unless they can already.

        Raises:
            OSError: They can't, see ``listen(2)``.
        """
        if not self.is_stream or self.is_inherited or self.group is not None:
            return
        # Not once more, where the worker has done it: a Unix socket's clients see who did it last (SO_PEERCRED).
        if not self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self.sock.listen(queue_length(self.backlog))

    def sock_for(self, backend: Backend) -> socket.socket:
        """The listening socket for this worker.

        Raises:
            OSError: The worker's own socket can't be opened.
        """
        return self.sock if self.group is None else self.group.sock_for(backend.slot, backend.weight)

    def is_alone_in_its_slot(self, backend: Backend) -> bool:
        """Whether no other holder has this worker's slot. During a reload, its replacement has the same slot."""
        return all(other is backend or other.slot != backend.slot for other in self.holders)

    # ---- the workers that serve it

    def serve(self, backend: Backend) -> None:
        """This worker takes connections from now on."""
        if backend not in self._outstanding:
            if backend not in self._windows:
                self._windows[backend] = window = Window(is_sticky=self._is_sticky)
                window.expect(usual_seconds(self.windows), time.monotonic())
            self._outstanding[backend] = deque()
            self._may_have_room(backend)

    def stop(self, backend: Backend) -> None:
        """Sends this worker no more connections. It may still take or return those that it was sent."""
        if backend in self._pickable:
            self._is_full(backend)
        if backend in self._outstanding:
            self._policy.forget(backend)
        if not self._outstanding.get(backend, True):
            del self._outstanding[backend]

    def forget(self, backend: Backend) -> None:
        """This worker has ended: connections that it had not taken go to other workers."""
        self.stop(backend)
        self._windows.pop(backend, None)
        lost = self._outstanding.pop(backend, ())
        backend.redispatched += len(lost)
        backend.under_way -= len(lost)
        backend.tell_policies()
        self._pending.extend(lost)
        self._hand_over_pending()

    def taken(self, backend: Backend, count: int, returned: int) -> None:
        """Of the connections that this worker was sent, it has taken the first ``count`` and returns the next ones.

        Raises:
            ProtocolError: It was not sent so many.
        """
        outstanding = self._outstanding.get(backend)
        if outstanding is None or not 0 <= count <= count + returned <= len(outstanding):
            sent = len(outstanding or ())
            raise ProtocolError(f"{count} connections taken and {returned} returned, of {sent} sent")
        waits = self.waits
        now = 0.0 if waits is None else time.monotonic()
        before = seconds = 0.0
        bucket = 0
        for _ in range(count):
            fd, _, _, since = outstanding.popleft()
            os.close(fd)
            if since and waits is not None:  # `Waits.add`, without a call for each connection
                if since != before:  # those that came together have waited as long
                    before, seconds = since, now - since
                    bucket = bisect_left(BOUNDS, seconds)
                waits.seconds += seconds
                waits.counts[bucket] += 1
        for _ in range(returned):
            self._pending.append(outstanding.popleft())
        backend.under_way -= count + returned
        if returned:
            self._windows[backend].drop(returned)
            backend.tell_policies()
        if backend not in self.holders or not backend.life.takes_connections:
            if not outstanding:
                del self._outstanding[backend]
        elif returned:
            self._back_off(backend)
        self._hand_over_pending()

    def ready(self, backend: Backend, count: int, told: int, seconds: float) -> None:
        """This worker is ready with its ``count`` oldest connections. So many as ``told`` took so many seconds.

        Raises:
            ProtocolError: One of these is negative.
        """
        if count < 0 or told < 0 or seconds < 0:
            raise ProtocolError(f"ready with {count} connections, {told} in {seconds} s")
        window = self._windows.get(backend)
        if window is not None:
            window.ready(min(count, window.unready), seconds, time.monotonic(), told=told)
            if window.room <= 0 and backend in self._pickable and not self._is_closing:
                self._is_full(backend)
            self._may_have_room(backend)

    def pulled(self, backend: Backend, count: int) -> None:
        """This worker has accepted so many connections itself."""
        window = self._windows.get(backend)
        if window is not None and self.hands_over:
            self.accepted += count
            now = time.monotonic()
            self._pauses.came(now)
            window.sent(count, now)
            self.stirred()
            if window.room <= 0 and backend in self._pickable:
                self._is_full(backend)

    def _is_ready(self, backend: Backend) -> bool:
        """Whether it is ready with all that it was sent here, or is about to be."""
        window = self._windows[backend]
        return not window.unready or time.monotonic() < window.held_until

    def detached(self, backend: Backend) -> None:
        """This worker will not say that it is ready with the connections that it has taken: no loop of it runs."""
        window = self._windows.get(backend)
        if window is not None:
            window.drop(window.unready - len(self._outstanding.get(backend, ())))
            self._may_have_room(backend)

    def _back_off(self, backend: Backend) -> None:
        """Sends this worker no connections for a moment: it returned some because it has no descriptors left."""
        if backend in self._pickable:
            self._is_full(backend)
        if backend not in self._in_backoff:
            self._in_backoff[backend] = self._loop.call_later(_BACKOFF, self._end_backoff, backend)

    def _end_backoff(self, backend: Backend) -> None:
        del self._in_backoff[backend]
        self._may_have_room(backend)

    def changed(self, backend: Backend) -> None:
        """This worker's ``connections``, ``delay`` or ``busy`` have changed."""
        self._policy.changed(backend)
        if self._hold is not None:
            self._resume()

    def _may_have_room(self, backend: Backend) -> None:
        """Hands connections over to this worker again, if it takes them and has room for them."""
        if backend in self._pickable or backend not in self._outstanding or backend in self._in_backoff:
            return
        if backend not in self.holders or not (backend.life.takes_connections or self._is_closing):
            return
        if self._is_closing or self._windows[backend].room > 0:
            self._policy.add(backend)
            self._hand_over_pending()
            self._resume()

    def _is_full(self, backend: Backend) -> None:
        self._policy.remove(backend)

    # ---- accept and hand over

    def _resume(self) -> None:
        """Accepts again, at once: clients wait."""
        if not self.hands_over or self._is_closing or self._is_accepting or self._retry is not None:
            return
        if self._wants_connections():
            self._hand_over(self._accept(self.sock))
        if self._wants_connections() and self._retry is None:
            self._is_accepting = True
            self._loop.add_reader(self.sock.fileno(), self._on_readable)

    def _pause(self) -> None:
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self.sock.fileno())

    def _on_readable(self) -> None:
        self._hand_over(self._accept(self.sock))
        if not self._wants_connections():
            self._pause()

    def _wants_connections(self) -> bool:
        """Whether a worker has room for one, and no other one is worth waiting for. If so, tries again then."""
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if not self._pickable:
            return False
        if self._policy.may_wait and len(self._pickable) < len(self._outstanding):  # else all have room
            now = time.monotonic()
            for backend in self._policy.awaited():
                window = self._windows.get(backend)
                if window is not None and window.room <= 0 and now < window.held_until:
                    self._hold = self._loop.call_later(window.held_until - now, self._resume)
                    return False
        return True

    def _accept(self, sock: socket.socket, *, if_room: bool = True) -> Iterator[Connection]:
        """Accepts connections one by one, as they are asked for, until none waits.

        Args:
            sock: Where to accept.
            if_room: Whether to end when no worker is to get more.
        """
        os.set_blocking(sock.fileno(), False)  # a worker has the same socket, and may have changed that
        accept = sock._accept  # type: ignore[attr-defined]  # accept() without a socket object per connection
        pickable, outstanding, may_wait = self._pickable, self._outstanding, self._policy.may_wait
        now = since = 0.0 if self.waits is None else time.monotonic()
        queue = self._queue_times
        if asks := now - self._queue_was_empty > TICK and queue.can_be_told:  # else they have waited for less
            since = now - queue.last
        try:
            for _ in range(_ACCEPTS_PER_TURN):
                if if_room:
                    is_choosy = may_wait and len(pickable) < len(outstanding)
                    if not (self._wants_connections() if is_choosy else pickable):
                        return
                fd, client = accept()
                self.accepted += 1
                if asks and queue.asks_at <= now:
                    since = now - queue.ask(fd, now)
                yield fd, client, None, since
        except (BlockingIOError, InterruptedError):
            self._queue_was_empty = now
        except OSError as error:
            if error.errno in _EXHAUSTED:
                logger.error("%s: can't accept (%s); trying again in %s s", self.address, error.strerror, _BACKOFF)
                self._pause()
                if self._retry is None:
                    self._retry = self._loop.call_later(_BACKOFF, self._try_again)
                if self._peeker is not None:
                    self._peeker.hurry()
            # else the client has disconnected already (ECONNABORTED and others, accept(2)): accept the next one later

    def _try_again(self) -> None:
        self._retry = None
        self._resume()
        self._empty_moved()
        if self.group is not None:
            self.group.close_removed(self.adopt)

    def move(self, sock: socket.socket, file: SocketFile | None) -> None:
        """Its path has been bound anew: it listens on this socket from now on, which it then owns.

        Nobody can connect to the old one any more. Those that wait there are served.
        """
        is_accepting = self._is_accepting
        self._pause()
        self._moved_from.append(self.sock)
        self.sock, self.file = sock, file
        if self._outstanding:  # it serves, although who has bound the new one does not yet
            self.listen()
        self._empty_moved()
        if is_accepting:
            self._resume()
        for backend in self.holders:
            if backend.channel.is_closed:
                continue
            try:
                fds = [os.dup(sock.fileno())]
            except OSError as error:
                logger.error("%s: can't give its new socket to a worker (%s)", self.address, error.strerror)
            else:
                backend.channel.send(kinds.Moved(self.number).encode(), fds, closer(fds))

    def _empty_moved(self) -> None:
        """Accepts what waits at sockets that it has moved from, and closes them."""
        for sock in list(self._moved_from):
            if self.adopt(sock):
                self._moved_from.remove(sock)
                sock.close()

    def adopt(self, sock: socket.socket) -> bool:
        """Accepts the connections in the queue of a worker's own socket. Returns whether it got them all."""
        while accepted := list(self._accept(sock, if_room=False)):
            self._hand_over(accepted)
        return self._retry is None

    def _hand_over_pending(self) -> None:
        """Hands over accepted connections that have no worker."""
        if self._pending and self._pickable:
            pending, self._pending = self._pending, deque()
            self._hand_over(pending)

    def _hand_over(self, connections: Iterable[Connection]) -> None:
        """Picks a worker for each connection, and sends each worker its batch. If no worker has room, they wait."""
        batches: dict[Backend, list[int]] = {}
        now = 0.0
        for connection in connections:
            if not now:
                now = time.monotonic()
                self._pauses.came(now)
            fd, client, first, since = connection
            if first is None and self._peeker is not None:
                self._peeker.take(fd, client, since)  # it calls this method again with the first bytes
                continue
            backend = self._pick(client, first, now)
            if backend is None:
                self._pending.append(connection)
                continue
            self._outstanding[backend].append(connection)
            backend.under_way += 1
            batches.setdefault(backend, []).append(fd)
            window = self._windows[backend]
            window.sent(1, now)
            if window.unready >= window.size and not self._is_closing:
                self._is_full(backend)
        for backend, fds in batches.items():
            if not backend.channel.is_closed:  # else `forget` is about to be called
                backend.channel.send(self._frame(backend, len(fds)), fds)
                backend.channel.flush()  # at once: descriptors have a system call of their own anyway
        if batches:
            self.stirred()

    def _frame(self, backend: Backend, count: int) -> bytes:
        pace = 0 if self._windows[backend].size > 1 else 1 + self._may_pull
        return encode(kinds.CONNECTIONS, self.number, count, pace)

    def _pick(self, client: Any, first: bytes | None, now: float) -> Backend | None:
        """The worker for this connection; None if none has room. Those that are late can't be picked any more."""
        pickable, policy = self._pickable, self._policy.policy
        while pickable:
            try:
                if first is None:
                    backend = policy.pick(client)
                else:
                    assert isinstance(policy, Peeking)
                    backend = policy.pick_by(client, first)
                if backend not in pickable:  # raises if it is not hashable
                    raise LookupError(f"it picked {backend!r}, which can't be picked now")
            except BaseException as error:
                backend = self._policy.pick_instead(error)
            if now < self._windows[backend].late_at or self._is_closing:
                return backend
            self._is_full(backend)
        return None

    # ---- the end

    def begin_closing(self) -> None:
        """Lets no new clients in. Call `take_in` until `is_idle`, and then `close`.

        The workers are told, and accept no more. Windows count no more: what they were not sent when it closes is lost.
        """
        self._is_closing = True
        self._pause()
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if not self.is_inherited:  # what waits in that one waits for those who go on with it
            for sock in self._listening():
                refuse_new(sock)
        for backend in self.holders:
            backend.tell(kinds.PortClosed(self.number))
        for backend in self._outstanding:
            self._may_have_room(backend)

    def take_in(self) -> None:
        """Accepts all connections that the kernel has let in, and hands them over, also those of a socket of its own.

        Those whose first bytes are awaited are handed over with what has arrived.
        """
        if not self.is_inherited:
            for sock in self._listening():
                self.adopt(sock)
        if self._peeker is not None:
            self._peeker.hurry()

    @property
    def is_idle(self) -> bool:
        """Whether the workers have taken all connections that were accepted, as far as any worker takes them."""
        return not any(self._outstanding.values()) and not (self._pending and self._in_backoff)

    @property
    def has_had_connections(self) -> bool:
        """Whether anybody has ever connected."""
        return self.accepted > 0 or any(backend.accepted for backend in self.holders)

    def _listening(self) -> list[socket.socket]:
        """The sockets to which clients can connect."""
        socks = [self.sock] if self.group is None else self.group.socks
        return [sock for sock in socks if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]

    @property
    def windows(self) -> Collection[Window]:
        """The windows of the workers that serve it."""
        return [self._windows[backend] for backend in self._outstanding if backend.life.takes_connections]

    @property
    def pending(self) -> int:
        """How many accepted connections have no worker yet."""
        return len(self._pending)

    def stats(self) -> PortStats:
        """Its current numbers."""
        waiting = len(self._pending) + sum(map(len, self._outstanding.values()))
        if self._peeker is not None:
            waiting += len(self._peeker)
        return PortStats(self.address, _name_of(self.scheduling), self.accepted, waiting)

    def close(self) -> None:
        """Closes the port, and every connection that no worker has been sent."""
        self._pause()
        for timer in (self._retry, self._hold):
            if timer is not None:
                timer.cancel()
        for timer in self._in_backoff.values():
            timer.cancel()
        self._in_backoff.clear()
        if self._peeker is not None:
            self._peeker.close()
        for backend, outstanding in self._outstanding.items():
            backend.channel.flush()
            backend.channel.withdraw({fd for fd, *_ in outstanding})
            backend.under_way -= len(outstanding)
        for connections in (*self._outstanding.values(), self._pending):
            for fd, *_ in connections:
                os.close(fd)
            connections.clear()
        self._outstanding.clear()
        self._pickable.clear()
        if not self.is_inherited and self.holders and all(self.number in backend.ports for backend in self.holders):
            for sock in self._listening():
                close_everywhere(sock)
        if self.group is not None:
            self.group.close()
        for sock in (self.sock, *self._moved_from):
            sock.close()


def _nothing() -> None:
    """The default callback."""


def _name_of(scheduling: Any) -> str:
    if isinstance(scheduling, str):
        return scheduling
    return getattr(scheduling, "__qualname__", type(scheduling).__qualname__)
