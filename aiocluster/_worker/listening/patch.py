"""Makes asyncio's own listening calls go through the primary, for every loop class of this process.

The calls are replaced on the classes, so it does not matter who makes the loop, or when.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from asyncio import base_events, unix_events
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..._wire.endpoint import Endpoint
from ..current import connected_worker
from .port import Port
from .server import ClusterServer

if TYPE_CHECKING:
    from ..worker import Worker

BACKLOG = 100
"""How many connections the kernel keeps waiting: asyncio's own default."""

_exclusive: ContextVar[bool] = ContextVar("aiocluster_exclusive", default=False)


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Listening calls made inside bind in this process alone, as if it were no worker (Node's ``exclusive``)."""
    token = _exclusive.set(True)
    try:
        yield
    finally:
        _exclusive.reset(token)


def _sharing_worker(loop: asyncio.AbstractEventLoop) -> Worker | None:
    """None for calls inside `exclusive`, and on a loop of another thread: answers would arrive in the wrong one."""
    worker = None if _exclusive.get() else connected_worker()
    return worker if worker is not None and worker.is_attached(loop) else None


def install() -> None:
    """Replaces the calls on asyncio's loop classes, and on uvloop's if it is installed; in a template once for all."""
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


# ---- the loop itself: whichever runs in the main thread reads the channel


def _run_forever(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def run_forever(self: asyncio.AbstractEventLoop) -> None:
        worker = connected_worker()
        if worker is None or not worker.attach(self):
            original(self)
            return
        try:
            original(self)
        finally:
            worker.detach()

    return run_forever


def _run_until_complete(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def run_until_complete(self: asyncio.AbstractEventLoop, future: Any) -> Any:
        worker = connected_worker()
        if worker is None or worker.main is not None or self.is_closed() or self.is_running():
            return original(self, future)
        worker.main = asyncio.ensure_future(future, loop=self)
        try:
            return original(self, worker.main)
        finally:
            worker.main = None

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
        worker = _sharing_worker(self)
        if worker is None or options.get("sock") is not None or (host is None and port is None):
            return await original(self, protocol_factory, host, port, **options)
        asks = await resolve(self, host, port, options.pop("family", 0), options.pop("flags", socket.AI_PASSIVE))
        return await _serve(self, worker, asks, protocol_factory, options)

    return create_server


def _create_unix_server(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def create_unix_server(
        self: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: Any = None,
        **options: Any,
    ) -> Any:
        worker = _sharing_worker(self)
        if worker is None or path is None or options.get("sock") is not None:
            return await original(self, protocol_factory, path, **options)
        ask = Endpoint(socket.AF_UNIX, socket.SOCK_STREAM, path=whole_path(path))
        return await _serve(self, worker, [ask], protocol_factory, options)

    return create_unix_server


async def _serve(
    loop: asyncio.AbstractEventLoop,
    worker: Worker,
    asks: Iterable[Endpoint],
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    options: dict[str, Any],
) -> ClusterServer:
    backlog = options.get("backlog", BACKLOG)
    tls = {name: options[name] for name in ("ssl", *_TLS_TIMEOUTS) if options.get(name) is not None}
    if isinstance(tls.get("ssl"), bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    if "ssl" not in tls:
        for name in _TLS_TIMEOUTS:
            if name in tls:
                raise ValueError(f"{name} is only meaningful with ssl")
    ports: list[Port] = []
    try:
        for ask in asks:
            ports.append(await worker.ports.open(ask, backlog=backlog))
    except BaseException:
        for port in ports:
            port.close()
        raise
    if options.get("keep_alive"):  # from Python 3.13 on; connections inherit it from the listening socket
        for port in ports:
            port.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    server = ClusterServer(loop, ports, protocol_factory, tls)
    if options.get("start_serving", True):
        server.serve()
    return server


_TLS_TIMEOUTS = ("ssl_handshake_timeout", "ssl_shutdown_timeout")


async def resolve(
    loop: asyncio.AbstractEventLoop, host: Any, port: int | None, family: int, flags: int
) -> list[Endpoint]:
    """Every address that these hosts stand for, as `loop.create_server` finds them."""
    hosts = [None] if host == "" or host is None else [host] if isinstance(host, str) else list(host)
    asks: dict[Endpoint, None] = {}
    for one in hosts:
        infos = await loop.getaddrinfo(one, port, family=family, type=socket.SOCK_STREAM, flags=flags)
        if not infos:
            raise OSError(f"getaddrinfo({one!r}) returned empty list")
        for found, kind, _, _, address in infos:
            if found != socket.AF_INET6 or _has_ipv6():
                asks[Endpoint(found, kind, str(address[0]), int(address[1]))] = None
    return list(asks)


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return False
    return True


def whole_path(path: Any) -> str:
    """A Unix socket's path as the primary, which may have another working directory, is told it."""
    name = os.fsdecode(path)
    return name if name.startswith("\0") else os.path.abspath(name)


# ---- UDP


def _create_datagram_endpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def create_datagram_endpoint(
        self: asyncio.AbstractEventLoop,
        protocol_factory: Callable[[], Any],
        local_addr: Any = None,
        remote_addr: Any = None,
        **options: Any,
    ) -> Any:
        worker = _sharing_worker(self)
        if worker is None or options.get("sock") is not None or local_addr is None or remote_addr is not None:
            return await original(self, protocol_factory, local_addr, remote_addr, **options)
        if options.get("family") == socket.AF_UNIX or isinstance(local_addr, str):
            return await original(self, protocol_factory, local_addr, remote_addr, **options)
        host, port = local_addr[:2]
        infos = await self.getaddrinfo(
            host, port, family=options.get("family", 0), type=socket.SOCK_DGRAM, flags=options.get("flags", 0)
        )
        if not infos:
            raise OSError("getaddrinfo() returned empty list")
        family, kind, _, _, address = infos[0]
        ask = Endpoint(family, kind, str(address[0]), int(address[1]))
        shared = await worker.ports.open(ask, backlog=0)
        try:
            if options.get("allow_broadcast"):
                shared.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            endpoint = await original(self, protocol_factory, sock=_Owner.of(shared))
        except BaseException:
            shared.close()
            raise
        shared.announce()
        return endpoint

    return create_datagram_endpoint


class _Owner(socket.socket):
    """A UDP socket whose end is its port's end; see `ports.Connection`."""

    __slots__ = ("port",)
    port: Port

    @classmethod
    def of(cls, port: Port) -> _Owner:
        sock = cls(port.sock.family, port.sock.type, port.sock.proto, fileno=os.dup(port.sock.fileno()))
        sock.port = port
        sock.setblocking(False)
        return sock

    def close(self) -> None:
        super().close()
        self.port.close()

    def detach(self) -> int:
        fd = super().detach()
        self.port.close()
        return fd


_WRAPPERS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "run_forever": _run_forever,
    "run_until_complete": _run_until_complete,
    "create_server": _create_server,
    "create_unix_server": _create_unix_server,
    "create_datagram_endpoint": _create_datagram_endpoint,
}
