"""The asyncio server whose connections come from shared ports."""

from __future__ import annotations

import asyncio
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from typing import Any

from . import foreign
from .connecting import connect, failed
from .port import ACCEPTS_PER_TURN, Connection, Port

_HANDSHAKE = 0.004
"""Seconds that a worker is not ready with a connection because its TLS handshake is under way; fewer than those after
which the primary passes it over."""


class ClusterServer(asyncio.AbstractServer):
    """Behaves like `asyncio.Server`; see its documentation.

    Args:
        loop: The running loop.
        ports: The shared ports that it serves. It owns them.
        protocol_factory: Returns a protocol for each connection.
        options: ``ssl``, ``ssl_handshake_timeout`` and ``ssl_shutdown_timeout``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ports: Sequence[Port],
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        options: dict[str, Any],
    ) -> None:
        self._loop = loop
        self._ports = tuple(ports)
        self._factory = protocol_factory
        self._options = options
        self._is_serving = False
        self._closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        is_asyncio = isinstance(loop, asyncio.BaseEventLoop)
        self._is_foreign = foreign.is_foreign(loop)
        self._makes_non_blocking = not is_asyncio and not self._is_foreign  # libuv makes sockets non-blocking itself
        self._is_secure = options.get("ssl") is not None
        self._is_plain = not options and not self._is_foreign
        self._waits_for_connections = is_asyncio and sys.version_info >= (3, 12)
        self._context = copy_context()
        self._serving_forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    # ---- like asyncio.Server

    @property
    def sockets(self) -> tuple[TransportSocket, ...]:
        """The listening sockets; none if it is closed. They are shared, so do not accept on them."""
        return () if self._closed.is_set() else tuple(TransportSocket(port.sock) for port in self._ports)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._is_serving

    async def start_serving(self) -> None:
        self.serve()
        await asyncio.sleep(0)

    def serve(self) -> None:
        """Starts serving; `start_serving` without the wait."""
        if self._closed.is_set():
            raise RuntimeError(f"server {self!r} is closed")
        if self._is_serving:
            return
        for port in self._ports:
            port.listen()
        self._is_serving = True
        self._context = copy_context()
        for port in self._ports:
            port.serve(self)

    async def serve_forever(self) -> None:
        if self._serving_forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        self.serve()
        self._serving_forever = self._loop.create_future()
        try:
            await self._serving_forever
        except asyncio.CancelledError:
            try:
                self.close()
                await self.wait_closed()
            finally:
                raise
        finally:
            self._serving_forever = None

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        self._is_serving = False
        for port in self._ports:
            port.close()
        if self._serving_forever is not None and not self._serving_forever.done():
            self._serving_forever.cancel()

    async def wait_closed(self) -> None:
        """Returns when it is closed and has no connections, as `asyncio.Server.wait_closed` does from Python 3.12 on.

        Like earlier ones and uvloop's, it does not wait for the connections of a server that is closed already. A
        worker that has used up its time to leave does not wait for connections.
        """
        was_closed = self._closed.is_set()
        await self._closed.wait()
        for port in self._ports:
            await port.wait_released()
        if not was_closed or self._waits_for_connections:
            for port in self._ports:
                await port.drain()
        elif "ssl" not in self._options:  # a client may never begin a handshake
            while self._tasks:
                await asyncio.wait(self._tasks)

    def close_clients(self) -> None:
        """Closes all connections, after buffered data has been sent."""
        for transport in self._transports():
            transport.close()

    def abort_clients(self) -> None:
        """Closes all connections at once, without sending buffered data."""
        for transport in self._transports():
            transport.abort()  # type: ignore[attr-defined]

    def _transports(self) -> list[asyncio.BaseTransport]:
        return [sock.transport for port in self._ports for sock in port.connections if sock.transport is not None]

    # ---- connections: port.Taker

    wants = ACCEPTS_PER_TURN

    def arrived(self, port: Port, fds: list[int], lost: int) -> None:
        try:
            self.take(port, fds, is_awaited=True)
        finally:
            port.settle(len(fds), lost)  # leaves after the tasks' first steps, and before anything is read

    def take(self, port: Port, fds: list[int], *, is_awaited: bool) -> None:
        self._context.run(self._take, port, fds, is_awaited)

    def _take(self, port: Port, fds: list[int], is_awaited: bool) -> None:
        socks = port.opened(fds)
        if not self._makes_non_blocking:
            for sock in socks:
                sock.setblocking(False)
        if self._is_plain:
            for sock in socks:
                connect(self._loop, self._factory, sock)
        elif is_awaited and self._is_secure:
            for sock in socks:
                self._start(self._connect_securely(sock, port))
            port.ready_soon(0)
            return
        else:
            for sock in socks:
                self._start(self._connect(sock))
        if is_awaited:
            port.ready_soon(len(socks), socks)

    def _start(self, connecting: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(connecting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect_securely(self, sock: Connection, port: Port) -> None:
        """Connects, with a TLS handshake. What that costs so far counts, and then the request after it.

        A client that takes its time for it keeps no other one waiting: the handshakes of such clients are under way
        beside each other.
        """
        clock = port.ready_clock
        waited = clock.begin_waiting()
        is_ready = False

        def give_up() -> None:
            nonlocal is_ready
            is_ready = True
            port.ready_soon(1)

        timer = self._loop.call_later(_HANDSHAKE, give_up)
        try:
            await self._connect(sock)
        finally:
            timer.cancel()
            port.ready_soon(0 if is_ready else 1)
            clock.end_waiting(waited)

    async def _connect(self, sock: Connection) -> None:
        try:
            if self._is_foreign:
                sock.transport = await foreign.connect(self._loop, self._factory, sock, self._options)
            else:
                sock.transport, _ = await self._loop.connect_accepted_socket(self._factory, sock, **self._options)
        except BaseException as error:
            failed(self._loop, sock, error)
            if not isinstance(error, Exception):
                raise
