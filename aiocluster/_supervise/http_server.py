"""A small HTTP server in the primary, for pages that say how the cluster is: one short response per connection."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from http import HTTPStatus
from typing import cast

from .._bind import BindAddress
from .._primary.ports.bind import address_of, bind, bind_path
from .._primary.ports.socket_file import own_file
from .._wire.addresses import addresses, has_ipv6
from .._wire.endpoint import Endpoint
from .._wire.socket_file import whole_path
from ..address import Address
from ..errors import StartupError
from .http_answer import AnyPage, Asked, Content, Request

logger = logging.getLogger("aiocluster.cluster")

_TIMEOUT = 5.0  # seconds from accept to the end of the request, and from the response to close
_MOST = 64  # open connections: none of them may cost the primary its descriptors
_BACKLOG = 128


class HttpServer:
    """Serves pages from `open` to `close`.

    Args:
        setting: The setting that asks for it. Errors name it.
        where: Where to listen: an address or a path. Of a name, the first address is used.
        pages: The pages by path.

    Attributes:
        address: Where it listens, the first of two if on all interfaces; None before `open`.
    """

    def __init__(self, setting: str, where: BindAddress, pages: Mapping[str, AnyPage]) -> None:
        self.address: Address | None = None
        self._setting = setting
        self._where = where
        self._pages = pages
        self._trying = ""  # the address that is being bound
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._none_left = asyncio.Event()
        self._undo = ExitStack()

    async def open(self) -> None:
        """Listens. The caller must call `close` later, also if this fails.

        Raises:
            StartupError: It can't. The text is one line.
        """
        loop = asyncio.get_running_loop()
        try:
            for sock in await self._bound():
                sock.listen(_BACKLOG)
                # With a socket of its own, also in a worker: there, other calls would share the port with others.
                create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
                self._servers.append(await create(self._connection, sock=sock))
        except OSError as error:
            told = StartupError(f"{self._setting}: {_why(error, self._where)}")
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                told._refused, told._setting = (error.errno, self._trying), self._setting
            raise told from error

    async def _bound(self) -> list[socket.socket]:
        if self._where.path is not None:
            path = whole_path(self._where.path)
            self._trying = f"unix:{os.fsdecode(path)}"
            sock = self._owned(bind_path(path, mode=None, uid=None, gid=None))
            if (file := own_file(path)) is not None:
                self._undo.callback(file.remove)
            return [sock]
        if self._where.host not in ("", "::"):
            return [await self._bound_to(self._where.host, self._where.port)]
        first = await self._bound_to("0.0.0.0", self._where.port)
        return [first, await self._bound_to("::", address_of(first).port)] if has_ipv6() else [first]

    async def _bound_to(self, host: str, port: int) -> socket.socket:
        found = await addresses(asyncio.get_running_loop(), host, port, type=socket.SOCK_STREAM)
        family, kind, _, _, sockaddr = found[0]
        self._trying = f"[{sockaddr[0]}]:{port}" if family == socket.AF_INET6 else f"{sockaddr[0]}:{port}"
        return self._owned(bind(Endpoint.of(family, kind, sockaddr), reuse_port=False))

    def _owned(self, sock: socket.socket) -> socket.socket:
        self._undo.callback(sock.close)
        self.address = self.address or address_of(sock)
        return sock

    def _connection(self) -> _Connection:
        return _Connection(self._pages, self._connections, self._none_left)

    async def close(self) -> None:
        """Ends all connections and listens no more."""
        with self._undo:
            for server in self._servers:
                server.close()
            for connection in list(self._connections):
                connection.abort()
            if self._connections:
                self._none_left.clear()
                await self._none_left.wait()
            for server in self._servers:
                await server.wait_closed()
            self._servers.clear()


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, pages: Mapping[str, AnyPage], all_of_them: set[_Connection], none_left: asyncio.Event) -> None:
        self._request = Request(pages)
        self._all = all_of_them
        self._none_left = none_left
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_answered = False
        self._making: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no instances of it
        self._all.add(self)
        if len(self._all) > _MOST:
            self.abort()
            return
        self._limit()

    def _limit(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_TIMEOUT, self.abort)

    def data_received(self, data: bytes) -> None:
        if self._is_answered or self._transport is None:
            return
        if (response := self._request.receive(data)) is not None:
            self._is_answered = True
            if isinstance(response, Asked):
                if self._timer is not None:
                    self._timer.cancel()  # the client has done its part
                self._making = asyncio.get_running_loop().create_task(self._make(response))
            else:
                self._transport.write(response)
                self._transport.close()

    async def _make(self, asked: Asked) -> None:
        try:
            content = await asked.page(asked.accept)
        except Exception as error:  # whoever asks is to see it, too
            logger.exception("a page could not be made")
            text = f"{type(error).__name__}: {error}\n".encode()
            content = Content(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text)
        if self._transport is not None:
            self._limit()
            self._transport.write(asked.response(content))
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._making is not None and not self._making.done():
            self._making.cancel()
            self._making.add_done_callback(self._ended)
        else:
            self._ended(None)

    def _ended(self, _: object) -> None:
        self._all.discard(self)
        if not self._all:
            self._none_left.set()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def _why(error: OSError, where: BindAddress) -> str:
    """Returns in one line why it can't listen, and what to do."""
    place = where.path or f"{where.host or '*'}:{where.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is in use; stop what listens there, or choose another address"
    if error.errno == errno.EACCES:
        return f"{place} is not allowed; choose a port from 1024 on, or a path that this user may write"
    reason = error.strerror or os.strerror(error.errno or 0)
    return f"can't listen on {place}: {reason}; choose an address of this machine"
