"""The shared ports that this worker has asked the primary for, and the connections that come from them."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from ..._wire import frames as kinds
from ..._wire.channel import Channel
from ..._wire.codec import encode
from ..._wire.conversation import TakeDescriptors
from ..._wire.endpoint import Endpoint

logger = logging.getLogger("aiocluster.ports")

ACCEPTS_PER_TURN = 16  # few, so that the other workers get some too
_PAUSE = 0.1  # seconds without accepting once descriptors have run out


class Taker(Protocol):
    """What serves a port's connections."""

    @property
    def wants(self) -> int:
        """How many it would take now of those that this worker accepts by itself; see `Port.resume`."""

    def arrived(self, port: Port, fds: list[int], lost: int) -> None:
        """These have come from the primary, and so many more for which this process had no descriptor left.

        The descriptors are the taker's from now on. It tells of each, in order, whether it is taken (`Port.settle`).
        """

    def take(self, sock: Connection) -> None:
        """Serves this connection, which is the taker's from now on."""


class Connection(socket.socket):
    """A connection that tells its port when it is closed. (uvloop detaches the sockets it has closed itself.)

    Its family and type are looked up once for a port, not for each connection: loops ask for them often, and
    `socket.socket` makes an enum each time.
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
        number: What frames call it.
        sock: The listening socket itself; the port owns it.
        is_handed_over: Whether the primary accepts and hands connections over; else this worker accepts.
    """

    def __init__(self, number: int, ask: Endpoint, sock: socket.socket, is_handed_over: bool, ports: Ports) -> None:
        self.number = number
        self.ask = ask
        self.sock = sock
        self.is_handed_over = is_handed_over
        self.bound = ask if sock.family == socket.AF_UNIX else ask._replace(port=sock.getsockname()[1], ordinal=0)
        self.taker: Taker | None = None
        self._family, self._type, self._proto = sock.family, sock.type, sock.proto
        self._ports = ports
        self._accepting_on: asyncio.AbstractEventLoop | None = None
        self.connections: set[Connection] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def serve(self, taker: Taker) -> None:
        """Connections go to this taker from now on. Called on the loop that it runs on."""
        self.taker = taker
        self.resume()
        self.announce()

    def resume(self) -> None:
        """Its taker wants connections again: accepts if that is this worker's to do."""
        if not self.is_handed_over and self._accepting_on is None:
            self._accept_on(asyncio.get_running_loop())

    def settle(self, taken: int, returned: int) -> None:
        """Of what the primary has handed over, the next ``taken`` are served, and of those behind ``returned`` not."""
        self._ports.tell(kinds.TAKEN, self.number, taken, returned)

    def stop(self) -> None:
        """Accepts no more by itself; connections that are being served go on."""
        if self._accepting_on is not None:
            self._accepting_on.remove_reader(self.sock.fileno())
            self._accepting_on = None

    def _accept_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.taker is not None and not self._ports.is_stopped:
            self._accepting_on = loop
            loop.add_reader(self.sock.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        accept = self.sock._accept  # type: ignore[attr-defined]  # accept() without a second socket object
        taker, loop = self.taker, self._accepting_on
        assert taker is not None
        assert loop is not None
        accepted = 0
        wanted = taker.wants
        if not wanted:
            self.stop()
        try:
            while accepted < wanted:
                fd, _ = accept()
                accepted += 1
                taker.take(self.connection(fd))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            # Out of descriptors; or the client has gone (ECONNABORTED), and a pause does no harm either.
            logger.error("can't accept (%s); trying again in %s s", error.strerror, _PAUSE)
            self.stop()
            loop.call_later(_PAUSE, self._accept_on, loop)
        if accepted:
            self._ports.tell(kinds.ACCEPTED, self.number, accepted)

    def announce(self) -> None:
        """Tells the primary that this worker listens."""
        self._ports.tell(kinds.SERVING, self.number)

    def connection(self, fd: int) -> Connection:
        """An accepted descriptor as a socket that counts among this port's; it owns the descriptor. It may block."""
        sock = Connection(self._family, self._type, self._proto, fileno=fd)
        sock.family = self._family
        sock.type = self._type
        sock.port = self
        sock.transport = None
        self.connections.add(sock)
        self._idle.clear()
        self._ports.opened()
        return sock

    def closed(self, sock: Connection) -> None:
        """One of this port's connections has been closed."""
        self.connections.discard(sock)
        if not self.connections:
            self._idle.set()
        self._ports.closed(self.number)

    async def drain(self) -> None:
        """Waits until all connections from this port are closed, or until `stop_draining`."""
        await self._idle.wait()

    def stop_draining(self) -> None:
        """Ends `drain`, whatever is still open."""
        self._idle.set()

    def close(self) -> None:
        """Wants no more connections, and closes the socket. Idempotent."""
        self.stop()
        self.taker = None
        self._ports.forget(self)
        self.sock.close()


class Ports:
    """All of this worker's shared ports."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last_number = 0
        self._answers: dict[int, tuple[Endpoint, asyncio.Future[Port]]] = {}
        self._open: dict[int, Port] = {}
        self._all: weakref.WeakSet[Port] = weakref.WeakSet()  # also closed ones: their connections may be open
        self.is_stopped = False
        self._connections = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed: dict[int, int] = {}  # port's number → connections closed in this turn
        self.receivers: dict[int, Callable[..., None]] = {
            kinds.LISTENED: self._on_listened,
            kinds.REFUSED: self._on_refused,
            kinds.CONNECTIONS: self._on_connections,
        }

    def tell(self, kind: int, *fields: Any) -> None:
        """Sends the primary a frame; nothing if it is gone."""
        if not self._channel.is_closed:
            self._channel.send(encode(kind, *fields))

    async def open(
        self, ask: Endpoint, *, backlog: int, scheduling: str | None = None, mode: int | None = None
    ) -> Port:
        """Asks the primary for a port.

        Raises:
            OSError: It can't be opened, or this worker has it open already.
            ChannelClosedError: The primary is gone.
        """
        ask = self._numbered(ask)
        self._last_number += 1
        number = self._last_number
        future: asyncio.Future[Port] = asyncio.get_running_loop().create_future()
        self._answers[number] = ask, future
        try:
            wanted = {**ask._asdict(), "backlog": backlog, "scheduling": scheduling, "mode": mode}
            self._channel.send(encode(kinds.LISTEN, number, wanted))
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().close()
            raise

    def _numbered(self, ask: Endpoint) -> Endpoint:
        """Node's rule for port 0: the first that a worker asks for is the same for all workers, so is the second."""
        taken = {asked for asked, _ in self._answers.values()}
        for port in self._open.values():
            taken |= {port.ask, port.bound}
        if ask not in taken:
            return ask
        if ask.port or ask.path or ask.fd >= 0:
            number = errno.EADDRINUSE
            raise OSError(number, f"error while attempting to bind on address {ask}: {os.strerror(number).lower()}")
        return next(
            one
            for ordinal in range(1, len(taken) + 1)
            if (one := Endpoint(ask.family, ask.type, ask.host, ordinal=ordinal)) not in taken
        )

    def _on_listened(self, take: TakeDescriptors, number: int, listener: int, is_handed_over: bool) -> None:
        ask, future = self._answers.pop(number)
        fds = take().take()
        if not fds:
            self.tell(kinds.UNLISTEN, listener)
            if not future.done():
                future.set_exception(OSError(errno.EMFILE, f"no descriptor left to listen on {ask}"))
            return
        port = Port(listener, ask, socket.socket(fileno=fds[0]), is_handed_over, self)
        port.sock.setblocking(False)
        self._open[listener] = port
        self._all.add(port)
        if future.done():  # whoever asked has been cancelled
            port.close()
        else:
            future.set_result(port)

    def _on_refused(self, number: int, code: int, text: str) -> None:
        ask, future = self._answers.pop(number)
        if not future.done():
            future.set_exception(OSError(code, f"error while attempting to bind on address {ask}: {text.lower()}"))

    def _on_connections(self, take: TakeDescriptors, number: int, count: int) -> None:
        fds = take().take()
        port = self._open.get(number)
        if port is None or port.taker is None:
            for fd in fds:
                os.close(fd)
            self.tell(kinds.TAKEN, number, 0, count)
            return
        lost = count - len(fds)
        if self.is_stopped:
            for fd in fds:
                os.close(fd)
            fds, lost = [], count
        elif lost:
            logger.error("%d connections go back: this process has no descriptors left", lost)
        port.taker.arrived(port, fds, lost)

    def opened(self) -> None:
        self._connections += 1
        self._idle.clear()

    def closed(self, number: int) -> None:
        self._connections -= 1
        if not self._connections:
            self._idle.set()
        is_first = not self._closed
        self._closed[number] = self._closed.get(number, 0) + 1
        if is_first:
            try:
                asyncio.get_running_loop().call_soon(self._tell_closed)
            except RuntimeError:  # its loop has ended and left it to the garbage collector
                self._tell_closed()

    def _tell_closed(self) -> None:
        closed, self._closed = self._closed, {}
        for number, count in closed.items():
            self.tell(kinds.CLOSED, number, count)

    def forget(self, port: Port) -> None:
        """A port has been closed."""
        if self._open.pop(port.number, None) is not None:
            self.tell(kinds.UNLISTEN, port.number)

    def stop(self) -> None:
        """Takes no more connections on any port; servers stay as they are."""
        self.is_stopped = True
        for port in self._open.values():
            port.stop()

    async def drain(self) -> None:
        """Returns when every connection that was taken has been closed."""
        await self._idle.wait()

    def stop_draining(self) -> None:
        """Ends `Port.drain` for all ports: this worker has no time left."""
        for port in self._all:
            port.stop_draining()
