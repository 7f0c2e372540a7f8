"""The shared ports that this worker has asked the primary for, and the connections that come from them."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ..._wire import frames
from ..._wire.channel import Channel
from ..._wire.codec import encode
from ..._wire.descriptors import Descriptors
from ..._wire.endpoint import Endpoint, queue_length
from ..._wire.frame import Route, on, on_descriptors, on_ints
from ..._wire.handles import closer
from ..._wire.queue_time import QueueTimes
from ..._wire.socket_file import MAX_PATH, inode_of, whole_path
from ..current import current_session
from . import unix
from .ready_clock import ReadyClock
from .silence import has_sent_nothing

logger = logging.getLogger("aiocluster.ports")

ACCEPTS_PER_TURN = 16  # few, so that the other workers get some too
_UNWINDING = 0.05  # seconds for an exception that has closed a server to end the program, so that the worker fails
_BACKOFF = 0.1  # seconds without accepting after descriptors have run out


class Taker(Protocol):
    """Serves a port's connections."""

    @property
    def wants(self) -> int:
        """How many connections it would take now, if this worker accepts them itself; see `Port.resume`."""

    def arrived(self, port: Port, fds: list[int], lost: int) -> None:
        """Connections have arrived from the primary.

        The taker must tell, in the order of arrival, which of them it takes and which it returns (`Port.settle`).

        Args:
            port: Where the clients connected.
            fds: Their descriptors, which the taker owns from now on.
            lost: How many more there were for which this process had no descriptors left.
        """

    def take(self, port: Port, fds: list[int], *, is_awaited: bool) -> None:
        """Serves these connections, whose descriptors the taker owns from now on.

        Args:
            port: Where the clients connected.
            fds: Their descriptors.
            is_awaited: Whether the primary is to hear when this worker is ready with them (`Port.ready_soon`).
        """


class Connection(socket.socket):
    """A connection that tells its port when it is closed, or detached: uvloop closes descriptors itself, and detaches.

    Family and type are set once per port, since loops read them often: `socket.socket` makes an enum each time.
    """

    __slots__ = ("family", "port", "transport", "type")
    family: socket.AddressFamily
    type: socket.SocketKind
    port: Port | None
    transport: asyncio.BaseTransport | None

    def close(self) -> None:
        super().close()
        self._tell()

    def detach(self) -> int:
        fd = super().detach()
        self._tell()
        return fd

    def _tell(self) -> None:
        port, self.port, self.transport = self.port, None, None
        if port is not None:
            port.closed(self)


class Port:
    """One shared port, as this worker sees it.

    Attributes:
        number: Its number in frames.
        endpoint: The endpoint that was asked for.
        bound: The same with the port number that it got.
        sock: The listening socket. The port owns it.
        is_handed_over: Whether the primary accepts and hands connections over; else this worker accepts.
        is_slow: Whether connections keep this worker busy for so long that it is sent one after the other.
        may_pull: Whether this worker may accept all the same, in place of connections that have kept it busy.
        taker: What serves its connections; None if nothing does.
        backlog: How many connections the kernel is to keep waiting, if the port is not listening yet; else None.
        is_closed_by_primary: Whether the primary has closed it: nobody can connect any more.
        connections: The open connections that came from this port.
    """

    def __init__(
        self, number: int, endpoint: Endpoint, sock: socket.socket, is_handed_over: bool, ports: Ports
    ) -> None:
        self.number = number
        self.endpoint = endpoint
        self.sock: socket.socket = sock
        self.is_handed_over = is_handed_over
        self.is_slow: bool = False
        self.may_pull: bool = False
        self.bound: Endpoint = endpoint
        if sock.family != socket.AF_UNIX:
            self.bound = endpoint._replace(port=sock.getsockname()[1], ordinal=0)
        self.taker: Taker | None = None
        self.backlog: int | None = None
        self.is_closed_by_primary: bool = False
        self._family, self._type, self._proto = sock.family, sock.type, sock.proto
        self._queue_times = QueueTimes(sock.family)
        self._waited = 0, 0  # milliseconds: what `_waits` has returned last
        self._ports = ports
        self._accepting_on: asyncio.AbstractEventLoop | None = None
        self.connections: set[Connection] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._released = asyncio.Event()
        self._drains = 0
        self._is_closed = False

    def listen(self) -> None:
        """Lets clients connect, where the port was opened without that.

        Raises:
            OSError: They can't, see ``listen(2)``.
        """
        if self.backlog is not None and not self.is_closed_by_primary:
            self.sock.listen(queue_length(self.backlog))
            self.backlog = None

    def serve(self, taker: Taker) -> None:
        """Sends connections to this taker from now on. Must be called on the taker's loop."""
        self.taker = taker
        self.resume()
        self.announce()

    def resume(self) -> None:
        """Its taker wants connections again: starts to accept, unless the primary accepts."""
        if not self.is_handed_over and self._accepting_on is None and not self.is_closed_by_primary:
            self._accept_on(asyncio.get_running_loop())

    def settle(self, taken: int, returned: int) -> None:
        """Tells the primary that the next ``taken`` connections are taken, and the next ``returned`` are not."""
        self._ports.tell(encode(frames.TAKEN, self.number, taken, returned))

    def ready_soon(self, count: int, socks: Sequence[Connection] = ()) -> None:
        """Tells the primary, when the loop has gone round since now, that this worker is ready; see `ReadyClock.add`.

        Args:
            count: With so many connections more. 0: those before have something to do now.
            socks: Those of them whose clients may not have sent anything yet.
        """
        self._ports.ready_clock.add(self, count, socks)

    @property
    def ready_clock(self) -> ReadyClock[Port]:
        """What tells when this worker is ready with connections."""
        return self._ports.ready_clock

    def ready(self, count: int, told: int, seconds: float) -> None:
        """Tells the primary that this worker is ready with its ``count`` oldest connections; see `frames.Ready`."""
        self._ports.tell(encode(frames.READY, self.number, count, told, int(seconds * 1e9)))

    def pull(self, most: int) -> None:
        """Takes what waits in the kernel's backlog, if that is allowed: this worker has become free."""
        taker = self.taker
        if taker is None or not self.may_pull or self._ports.is_stopped or self.is_closed_by_primary:
            return
        fds, _ = self._accept(min(most, taker.wants))  # the primary meets the same error
        if fds:
            waits = self._waits(fds)
            taker.take(self, fds, is_awaited=True)
            self._tell_accepted(len(fds), *waits)

    def stop(self) -> None:
        """Stops accepting. Open connections stay open."""
        if self._accepting_on is not None:
            self._accepting_on.remove_reader(self.sock.fileno())
            self._accepting_on = None

    def _accept_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.taker is not None and not self._ports.is_stopped and not self.is_closed_by_primary:
            self._accepting_on = loop
            loop.add_reader(self.sock.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        taker, loop = self.taker, self._accepting_on
        assert taker is not None
        assert loop is not None
        wanted = taker.wants
        if not wanted:
            self.stop()
        fds, error = self._accept(wanted)
        if error is not None:
            self.stop()
            if error.errno != errno.EINVAL:  # else the primary has closed the port, and will say so
                # No descriptors left; or the client has disconnected (ECONNABORTED), where a pause does no harm.
                logger.error("can't accept (%s); trying again in %s s", error.strerror, _BACKOFF)
                loop.call_later(_BACKOFF, self._accept_on, loop)
        if fds:
            waits = self._waits(fds)
            taker.take(self, fds, is_awaited=False)
            self._tell_accepted(len(fds), *waits)

    def _accept(self, most: int) -> tuple[list[int], OSError | None]:
        """Accepts at most so many connections, until none waits. Returns their descriptors, and what went wrong."""
        fds: list[int] = []
        try:
            os.set_blocking(self.sock.fileno(), False)  # others share the socket, and may have changed that
            accept = self.sock._accept  # type: ignore[attr-defined]  # accept() without a second socket object
            while len(fds) < most:
                fds.append(accept()[0])
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            return fds, error
        return fds, None

    def _waits(self, fds: list[int]) -> tuple[int, int]:
        """For how many milliseconds the last and the first of these have waited in the kernel's queue."""
        queue = self._queue_times
        if self._ports.times_waits and queue.can_be_told and queue.asks_at <= (now := time.monotonic()):
            longest = int(1000 * queue.ask(fds[0], now))
            shortest = int(1000 * queue.ask(fds[-1], now)) if longest and len(fds) > 1 else longest
            self._waited = min(shortest, longest), longest
        return self._waited

    def _tell_accepted(self, count: int, shortest: int, longest: int) -> None:
        self._ports.tell(encode(frames.ACCEPTED, self.number, count, shortest, longest))

    def announce(self) -> None:
        """Tells the primary that this worker listens."""
        self._ports.tell(frames.Serving(self.number).encode())

    def opened(self, fds: Sequence[int]) -> list[Connection]:
        """Adds connections: sockets that own these accepted descriptors. They may be blocking."""
        family, type, proto = self._family, self._type, self._proto
        socks = []
        for fd in fds:
            sock = Connection(family, type, proto, fd)
            sock.family = family
            sock.type = type
            sock.port = self
            sock.transport = None
            socks.append(sock)
        if not self.connections:
            self._idle.clear()
        self.connections.update(socks)
        self._ports.opened(len(socks))
        return socks

    def closed(self, sock: Connection) -> None:
        """One of this port's connections has been closed."""
        ports = self._ports
        if sock in ports.ready_clock.silent:
            ports.ready_clock.closed(sock)
        self.connections.discard(sock)
        if not self.connections:
            self._idle.set()
        ports.closed(self.number)

    async def drain(self) -> None:
        """Returns when all connections from this port have been closed, or after `stop_draining`."""
        self._drains += 1
        try:
            await self._idle.wait()
        finally:
            self._drains -= 1

    @property
    def is_draining(self) -> bool:
        """Whether anybody waits in `drain`."""
        return self._drains > 0

    def stop_draining(self) -> None:
        """Ends `drain` and `wait_released` for good."""
        self._idle.set()
        self._released.set()

    def move(self, sock: socket.socket) -> None:
        """Listens on this socket from now on, which the port then owns."""
        loop = self._accepting_on
        self.stop()
        self.sock.close()
        self.sock = sock
        if loop is not None:
            self._accept_on(loop)

    def close(self) -> None:
        """Takes no more connections, and closes the socket. Idempotent."""
        self.stop()
        self.taker = None
        self.sock.close()
        if not self._is_closed:
            self._is_closed = True
            self._ports.forget(self)

    async def wait_released(self) -> None:
        """Returns when the primary has closed the port, or keeps it for others. `close` must have been called."""
        await self._released.wait()

    def released(self) -> None:
        """The primary has closed the port, or keeps it for others."""
        self._released.set()

    def closed_by_primary(self) -> None:
        """The primary has closed the port: it has no more connections to accept."""
        self.is_closed_by_primary = True
        self.stop()
        if sys.platform != "linux" and self.taker is not None:
            self.sock.close()  # on Linux the primary has closed all duplicates


class Ports:
    """All of this worker's shared ports.

    Attributes:
        paths: The paths of all Unix sockets that this worker has shared so far.
        refused: The last address that could not be opened, by the system's error number.
        is_stopped: Whether it takes no more connections.
        ready_clock: Tells when the loop has gone round since connections came.
        woken: Called when a connection comes and none is open.
        times_waits: Whether the primary wants to know how long connections have waited that this worker accepts.
    """

    def __init__(self, channel: Channel) -> None:
        self.woken: Callable[[], None] = _nothing
        self._channel = channel
        self.ready_clock: ReadyClock[Port] = ReadyClock(self._flush)
        self._last_number = 0
        self._requests: dict[int, tuple[Endpoint, asyncio.Future[Port | None]]] = {}
        self._open: dict[int, Port] = {}
        self._releasing: deque[Port | None] = deque()  # closed ones, in the order in which the primary was told
        self._unwinding: dict[int, Port] = {}  # closed ones of which the primary is to be told later
        self._all: weakref.WeakSet[Port] = weakref.WeakSet()  # also closed ones: their connections may be open
        self.paths: set[bytes] = set()
        self.refused: dict[int, str] = {}
        self.is_stopped: bool = False
        self.times_waits: bool = False
        self._connections = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed: dict[int, int] = {}  # port's number → closed connections of which the primary is not told yet
        self.routes: tuple[Route, ...] = (
            on_descriptors(frames.Listened, self._on_listened),
            on(frames.Refused, self._on_refused),
            on(frames.Unlistened, self._on_unlistened),
            on(frames.PortClosed, self._on_port_closed),
            on(frames.Bind, self._on_bind),
            on_descriptors(frames.Moved, self._on_moved),
            on_ints(frames.Connections, self._on_connections),
        )

    def tell(self, frame: bytes) -> None:
        """Sends the primary a frame, unless the channel is closed."""
        if not self._channel.is_closed:
            self._channel.send(frame)

    async def open(
        self, endpoint: Endpoint, *, backlog: int, scheduling: str | None = None, is_listening: bool = True
    ) -> Port:
        """Asks the primary for a port at an IP address, or at a descriptor of the primary's.

        Args:
            endpoint: Where to listen.
            backlog: The backlog of a new port.
            scheduling: The policy of a new port; None: the cluster's.
            is_listening: Whether clients may connect at once; else a new port is only bound until `Port.listen`.

        Raises:
            OSError: It can't be opened, or this worker has it open already.
            ChannelClosedError: The channel to the primary is closed.
        """
        endpoint = self._numbered(endpoint)
        number = self._next_number()
        listen = frames.Listen(number, endpoint, backlog, scheduling, None, None, is_listening)
        port = await self._ask(number, endpoint, listen.encode())
        assert port is not None
        port.backlog = None if is_listening else backlog
        return port

    async def open_path(
        self,
        path: Any,
        *,
        named: Any = None,
        backlog: int,
        scheduling: str | None = None,
        mode: int | None = None,
        cleanup: bool | None = True,
        is_listening: bool = True,
    ) -> Port:
        """Asks the primary for the port of a Unix socket. Where there is none yet, binds it in this process.

        Args:
            path: What `unix.plain_path` returns.
            named: The path as the caller has named it, for errors; None: ``path``.
            backlog: The backlog of a new port.
            scheduling: The policy of a new port; None: the cluster's.
            mode: The permissions of the file of a new port; None: as the umask has it.
            cleanup: Whether closing the port removes the file; None: the end of the primary does.
            is_listening: As for `open`.

        Raises:
            OSError: It can't be bound, or this worker has it open already.
            ChannelClosedError: The channel to the primary is closed.
        """
        named = path if named is None else named
        endpoint = Endpoint(int(socket.AF_UNIX), int(socket.SOCK_STREAM), path=whole_path(path))
        try:
            if len(endpoint.path) > MAX_PATH:
                unix.bind(path, backlog=backlog, mode=mode).close()  # fails, but for a short relative path
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            while True:
                inode = inode_of(path)
                number = self._next_number()
                listen = frames.Listen(number, endpoint, backlog, scheduling, inode, cleanup, is_listening)
                port = await self._ask(number, endpoint, listen.encode())
                if port is None:  # it is our turn to bind
                    port = await self._bind(number, endpoint, inode, path, backlog if is_listening else None, mode)
                if port is not None:
                    port.backlog = None if is_listening else backlog
                    self.paths.add(endpoint.path)
                    return port
        except OSError as error:
            self._note_refused(error.errno, endpoint)
            raise unix.in_use(named) if error.errno == errno.EADDRINUSE else error from None

    async def _bind(
        self, number: int, endpoint: Endpoint, inode: list[int] | None, path: Any, backlog: int | None, mode: int | None
    ) -> Port | None:
        """Binds the path and gives the socket to the primary. None: the primary must be asked once more."""
        try:
            if inode_of(path) != inode:  # another worker has bound it while we waited for our turn
                self.tell(frames.Unbound(number).encode())
                return None
            with unix.bind(path, backlog=backlog, mode=mode) as sock:
                fd = os.dup(sock.fileno())
        except BaseException:
            self.tell(frames.Unbound(number).encode())
            raise
        return await self._ask(number, endpoint, frames.Bound(number, inode_of(path)).encode(), [fd])

    def _next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    async def _ask(self, number: int, endpoint: Endpoint, frame: bytes, fds: Sequence[int] = ()) -> Port | None:
        """Sends a frame, and returns what it is answered with; None: it is this worker's turn to bind the path.

        It owns the descriptors.
        """
        future: asyncio.Future[Port | None] = asyncio.get_running_loop().create_future()
        release = closer(list(fds))
        try:
            self._channel.send(frame, fds, release)
        except BaseException:
            release()
            raise
        self._requests[number] = endpoint, future
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                if (port := future.result()) is not None:
                    port.close()
                else:
                    self.tell(frames.Unbound(number).encode())
            raise

    async def open_all(
        self, endpoints: Iterable[Endpoint], *, backlog: int, scheduling: str | None = None, is_listening: bool = True
    ) -> list[Port]:
        """Asks the primary for several ports; if one can't be opened, closes the others. Otherwise like `open`."""
        ports: list[Port] = []
        try:
            for endpoint in endpoints:
                ports.append(
                    await self.open(endpoint, backlog=backlog, scheduling=scheduling, is_listening=is_listening)
                )
        except BaseException:
            for port in ports:
                port.close()
            raise
        return ports

    def _numbered(self, endpoint: Endpoint) -> Endpoint:
        """Node's rule for port 0: the first one that each worker asks for is the same port, and so is the second."""
        taken = {requested for requested, _ in self._requests.values()}
        for port in self._open.values():
            taken |= {port.endpoint, port.bound}
        if endpoint not in taken:
            return endpoint
        if endpoint.port or endpoint.fd >= 0:
            raise _bind_error(endpoint, errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return next(
            one for ordinal in range(1, len(taken) + 1) if (one := endpoint._replace(ordinal=ordinal)) not in taken
        )

    def _on_listened(self, frame: frames.Listened, descriptors: Descriptors) -> None:
        number = frame.port
        endpoint, future = self._requests.pop(frame.number)
        fds = descriptors.take()
        self._unwinding.pop(number, None)
        if not fds:
            self._release(number, None)
            if not future.done():
                future.set_exception(OSError(errno.EMFILE, f"no descriptors left to listen on {endpoint}"))
            return
        port = Port(number, endpoint, socket.socket(fileno=fds[0]), frame.is_handed_over, self)
        port.sock.setblocking(False)
        self._open[number] = port
        self._all.add(port)
        if future.done():  # the caller was cancelled
            port.close()
        else:
            future.set_result(port)

    def _on_refused(self, frame: frames.Refused) -> None:
        endpoint, future = self._requests.pop(frame.number)
        self._note_refused(frame.errno, endpoint)
        if not future.done():
            future.set_exception(_bind_error(endpoint, frame.errno, frame.text))

    def _note_refused(self, code: int | None, endpoint: Endpoint) -> None:
        if code is not None and endpoint.fd < 0:
            path = os.fsdecode(endpoint.path) if endpoint.path else None
            host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
            self.refused[code] = f"{host}:{endpoint.port}" if path is None else f"unix:{path}"

    def _on_bind(self, frame: frames.Bind) -> None:
        _, future = self._requests.pop(frame.number)
        if future.done():  # the caller was cancelled
            self.tell(frames.Unbound(frame.number).encode())
        else:
            future.set_result(None)

    def _on_moved(self, frame: frames.Moved, descriptors: Descriptors) -> None:
        port = self._open.get(frame.port)
        fds = descriptors.take() if port is not None else []
        if port is not None and fds:
            port.move(socket.socket(fileno=fds[0]))
        elif port is not None:
            logger.error("no descriptors left for the new socket of %s", port.endpoint)

    def _on_connections(self, descriptors: Descriptors, number: int, count: int, pace: int) -> None:
        fds = descriptors.take()
        port = self._open.get(number)
        if port is None or port.taker is None:
            for fd in fds:
                os.close(fd)
            self.tell(encode(frames.TAKEN, number, 0, count))
            return
        lost = count - len(fds)
        if self.is_stopped:
            for fd in fds:
                os.close(fd)
            fds, lost = [], count
        elif lost:
            logger.error("returning %d connections: this process has no descriptors left", lost)
        port.is_slow, port.may_pull = pace > 0, pace > 1
        port.taker.arrived(port, fds, lost)

    def opened(self, count: int) -> None:
        """So many connections have been taken."""
        if not self._connections:
            self._idle.clear()
            self.woken()
        self._connections += count

    @property
    def has_connections(self) -> bool:
        """Whether any connection from a shared port is open."""
        return self._connections > 0

    def closed(self, number: int) -> None:
        """A connection from the port with that number has been closed."""
        self._connections -= 1
        if not self._connections:
            self._idle.set()
        closed = self._closed
        if number in closed:
            closed[number] += 1
            return
        closed[number] = 1
        if len(closed) == 1 and not self.ready_clock.is_running:  # else they are told together
            try:
                asyncio.get_running_loop().call_soon(self._tell_closed)
            except RuntimeError:  # its loop has ended, and the garbage collector closes the connection
                self._tell_closed()

    def _tell_closed(self) -> None:
        closed, self._closed = self._closed, {}
        for number, count in closed.items():
            self.tell(encode(frames.CLOSED, number, count))

    def _flush(self) -> None:
        self._tell_closed()
        self._channel.flush()

    def detach(self) -> None:
        """The loop has stopped. The primary does not wait for what it was to hear of its connections."""
        self.ready_clock.stop()
        self._tell_closed()

    def forget(self, port: Port) -> None:
        """This port has been closed.

        Where an exception has closed it, that is most likely about to end this process. The primary is then not told
        at once: it keeps the port open for the replacement of a worker that fails, but not of one that goes on.
        """
        if self._open.pop(port.number, None) is None:
            return
        if self._channel.is_closed:
            port.released()
        elif not self.is_stopped and _is_unwinding():
            port.released()
            self._unwinding[port.number] = port
            self._release_later(port)
        else:
            self._release(port.number, port)

    def _release(self, number: int, port: Port | None) -> None:
        self._releasing.append(port)
        self.tell(frames.Unlisten(number).encode())

    def _release_later(self, port: Port) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the program has left its loop already
            return
        loop.call_later(_UNWINDING, self._release_unless_reopened, port)

    def _release_unless_reopened(self, port: Port) -> None:
        if self._unwinding.get(port.number) is not port:
            return  # it has been opened again
        if port.is_draining or self._requests:  # the exception waits in `wait_closed`, or it is being opened again
            self._release_later(port)
        else:
            del self._unwinding[port.number]
            self._release(port.number, port)

    def _on_unlistened(self, frame: frames.Unlistened) -> None:
        if port := self._releasing.popleft():
            port.released()

    def _on_port_closed(self, frame: frames.PortClosed) -> None:
        if port := self._open.get(frame.port):
            port.closed_by_primary()

    def release_all(self) -> None:
        """The channel to the primary has closed: it does not reply any more."""
        for port in self._releasing:
            if port is not None:
                port.released()
        self._releasing.clear()

    def stop(self) -> None:
        """Takes no more connections on any port. Servers stay open."""
        self.is_stopped = True
        for port in self._open.values():
            port.stop()

    def has_silent_client(self) -> bool:
        """Whether the client of any open connection has not sent anything yet, as far as the kernel tells."""
        return any(has_sent_nothing(sock) for port in self._all for sock in port.connections)

    async def drain(self) -> None:
        """Returns when all connections from shared ports have been closed."""
        await self._idle.wait()

    def stop_draining(self) -> None:
        """Ends `Port.drain` for all ports: this worker has no time left."""
        for port in self._all:
            port.stop_draining()


def _is_unwinding() -> bool:
    """Whether an exception is on its way out through the running code, and seems to be on its way to end the program.

    A cancellation is, if it is the main task's, or if it comes to several tasks at a time, as when a task group fails.
    """
    error = sys.exception()
    if not isinstance(error, asyncio.CancelledError):
        return error is not None and not isinstance(error, GeneratorExit)
    current = asyncio.current_task()
    session = current_session()
    return current is session.main or any(task.cancelling() for task in asyncio.all_tasks() if task is not current)


def _bind_error(endpoint: Endpoint, code: int, text: str) -> OSError:
    """The error that asyncio raises, word for word."""
    if endpoint.path:
        return OSError(code, text)
    return OSError(code, f"error while attempting to bind on address {endpoint}: {text.lower()}")


def _nothing() -> None:
    """The default callback."""
