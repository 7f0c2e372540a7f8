"""Makes asyncio's own listening calls use shared ports, for every loop class of this process.

The methods are replaced on the classes, so it does not matter who creates the loop, or when.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio import base_events, unix_events
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..._wire.endpoint import Endpoint
from ..current import connected_session
from .exclusive import sharing_session
from .port import BACKLOG, Port
from .resolve import resolve
from .server import ClusterServer
from .udp import create_datagram_endpoint
from .unix import plain_path

if TYPE_CHECKING:
    from ..session import Session


def install() -> None:
    """Replaces the methods of asyncio's loop classes, and of uvloop's if it is installed. Idempotent."""
    if hasattr(base_events.BaseEventLoop.run_forever, "__wrapped__"):
        return
    classes: list[Any] = [base_events.BaseEventLoop, unix_events._UnixSelectorEventLoop]
    try:
        import uvloop
    except ImportError:
        pass
    else:
        classes.append(uvloop.Loop)
    for cls in classes:
        for name, wrap in _WRAPPERS.items():
            if name in vars(cls) or cls.__module__.startswith("uvloop"):
                setattr(cls, name, wrap(getattr(cls, name)))


# ---- the loop itself: the one that runs in the main thread reads the channel


def _run_forever(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def run_forever(self: asyncio.AbstractEventLoop) -> None:
        session = connected_session()
        if session is None or not session.attach(self):
            original(self)
            return
        try:
            original(self)
        finally:
            session.detach()

    return run_forever


def _run_until_complete(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def run_until_complete(self: asyncio.AbstractEventLoop, future: Any) -> Any:
        session = connected_session()
        if session is None or session.main is not None or self.is_closed() or self.is_running():
            return original(self, future)
        session.main = asyncio.ensure_future(future, loop=self)
        try:
            return original(self, session.main)
        finally:
            session.main = None

    return run_until_complete


# ---- servers


def _create_server(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def create_server(
        self: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | Iterable[str] | None = None,
        port: int | None = None,
        **options: Any,
    ) -> Any:
        session = sharing_session(self)
        if session is None or options.get("sock") is not None or (host is None and port is None):
            return await original(self, protocol_factory, host, port, **options)
        endpoints = await resolve(self, host, port, options.pop("family", 0), options.pop("flags", socket.AI_PASSIVE))
        return await _serve(self, session, endpoints, protocol_factory, options)

    return create_server


def _create_unix_server(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def create_unix_server(
        self: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: Any = None,
        **options: Any,
    ) -> Any:
        session = sharing_session(self)
        if session is None or path is None or options.get("sock") is not None:
            return await original(self, protocol_factory, path, **options)
        plain = plain_path(self, path)
        port = await session.ports.open_path(
            plain,
            named=plain if isinstance(self, asyncio.BaseEventLoop) else path,
            backlog=options.get("backlog", BACKLOG),
            cleanup=options.get("cleanup_socket", _CLEANUP),
        )
        return _served(self, [port], protocol_factory, options)

    return create_unix_server


_CLEANUP = True if sys.version_info >= (3, 13) else None
"""What closing a server does with the file of its socket, by default: before, asyncio leaves it."""


async def _serve(
    loop: asyncio.AbstractEventLoop,
    session: Session,
    endpoints: Iterable[Endpoint],
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    options: dict[str, Any],
) -> ClusterServer:
    ports = await session.ports.open_all(endpoints, backlog=options.get("backlog", BACKLOG))
    return _served(loop, ports, protocol_factory, options)


def _served(
    loop: asyncio.AbstractEventLoop,
    ports: list[Port],
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    options: dict[str, Any],
) -> ClusterServer:
    tls = {name: options[name] for name in ("ssl", *_TLS_TIMEOUTS) if options.get(name) is not None}
    if isinstance(tls.get("ssl"), bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    if "ssl" not in tls:
        for name in _TLS_TIMEOUTS:
            if name in tls:
                raise ValueError(f"{name} is only meaningful with ssl")
    if options.get("keep_alive"):  # from Python 3.13 on; connections inherit it from the listening socket
        for port in ports:
            port.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    server = ClusterServer(loop, ports, protocol_factory, tls)
    if options.get("start_serving", True):
        server.serve()
    return server


_TLS_TIMEOUTS = ("ssl_handshake_timeout", "ssl_shutdown_timeout")

_WRAPPERS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "run_forever": _run_forever,
    "run_until_complete": _run_until_complete,
    "create_server": _create_server,
    "create_unix_server": _create_unix_server,
    "create_datagram_endpoint": create_datagram_endpoint,
}
