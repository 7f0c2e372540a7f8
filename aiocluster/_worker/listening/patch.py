"""Makes asyncio's own listening calls use shared ports, for every loop class of this process.

The methods are replaced on the classes, so it does not matter who creates the loop, or when. What a call is given goes
first to the method that it replaces, without an address: so the loop itself refuses what it would refuse elsewhere, in
its own words.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..._wire.endpoint import DEFAULT_BACKLOG, Endpoint
from ...errors import ChannelClosedError
from ..current import connected_session
from . import loops
from .arguments import arguments_of, check_backlog, takes
from .exclusive import sharing_session
from .port import Port
from .resolve import hosts_of, resolve
from .server import ClusterServer
from .udp import create_datagram_endpoint
from .unix import plain_path

if TYPE_CHECKING:
    from ..session import Session

Original = Callable[..., Any]


def install() -> None:
    """Replaces the methods of all classes of loops. Idempotent."""
    loops.install(_WRAPPERS)
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: F401  # a worker's async target runs on it; and a fork server imports it for its workers


def _run_until_complete(original: Original) -> Callable[..., Any]:
    @wraps(original)
    def run_until_complete(self: asyncio.AbstractEventLoop, future: Any) -> Any:
        session = connected_session()
        if session is None or self.is_closed() or self.is_running() or asyncio._get_running_loop() is not None:
            return original(self, future)
        main = session.mains[self] = asyncio.ensure_future(future, loop=self)
        try:
            return original(self, main)
        except (KeyboardInterrupt, SystemExit):
            session.is_interrupted = True
            raise
        finally:
            del session.mains[self]
            session.has_stopped(self)

    return run_until_complete


def _run_forever(original: Original) -> Callable[..., Any]:
    @wraps(original)
    def run_forever(self: asyncio.AbstractEventLoop) -> None:
        session = connected_session()
        try:
            original(self)
        finally:
            if session is not None:
                session.has_stopped(self)

    return run_forever


# ---- servers


def _create_server(original: Original) -> Callable[..., Any]:
    @wraps(original)
    async def create_server(self: asyncio.AbstractEventLoop, *args: Any, **kwargs: Any) -> Any:
        session = sharing_session(self)
        given = None if session is None else arguments_of(original, self, *args, **kwargs)
        if session is None or given is None or _binds_alone(given):
            return await original(self, *args, **kwargs)
        given["host"] = hosts = hosts_of(given.get("host"))
        await _check(original, self, {**given, "host": ()})
        if not hosts:
            return await original(self, **given)
        family, flags = given.get("family", 0), given.get("flags", socket.AI_PASSIVE)
        endpoints = await resolve(self, hosts, given.get("port"), family, flags)
        ports = await _open(original, self, session, endpoints, given)
        for port in ports:  # connections inherit it from the listening socket
            port.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, bool(given.get("keep_alive")))
        return _serve(self, ports, given)

    return create_server


def _binds_alone(given: dict[str, Any]) -> bool:
    """Whether this process binds by itself: with a socket of the caller's, and with ``reuse_port`` as in Node."""
    has_address = given.get("host") is not None or given.get("port") is not None
    return not has_address or given.get("sock") is not None or bool(given.get("reuse_port"))


async def _check(original: Original, loop: asyncio.AbstractEventLoop, given: dict[str, Any]) -> None:
    """Has the loop check the arguments of a call that binds nothing."""
    try:
        server = await original(loop, **{**given, "start_serving": False})
    except OSError:  # with no host, asyncio finds nothing to bind from Python 3.13 on
        pass
    else:
        server.close()


async def _open(
    original: Original,
    loop: asyncio.AbstractEventLoop,
    session: Session,
    endpoints: Iterable[Endpoint],
    given: dict[str, Any],
) -> list[Port]:
    """Opens the shared ports of these endpoints, or raises what the loop's own method raises."""
    backlog = check_backlog(given.get("backlog", DEFAULT_BACKLOG), loop)
    starts = bool(given.get("start_serving", True))
    ports: list[Port] = []
    try:
        for endpoint in endpoints:
            try:
                ports.append(await session.ports.open(endpoint, backlog=backlog, is_listening=starts))
            except ChannelClosedError:
                raise
            except OSError as error:
                host = f"{endpoint.host}%{endpoint.scope_id}" if endpoint.scope_id else endpoint.host
                refused = await _in_its_words(original, loop, {**given, "host": host}, error)
                if refused.errno is not None:
                    raise refused from None
                # else it skips an address that is not available, from Python 3.13 on (bpo-30945)
        if not ports:
            raise await _in_its_words(original, loop, given, OSError("could not bind on any address"))
    except BaseException:
        for port in ports:
            port.close()
        raise
    return ports


async def _in_its_words(
    original: Original, loop: asyncio.AbstractEventLoop, given: dict[str, Any], error: OSError
) -> OSError:
    """The loop's own error for what the primary could not bind, if this process can't either for the same reason."""
    try:
        server = await original(loop, **{**given, "start_serving": False})
    except OSError as own:
        is_same = own.errno == error.errno or (own.errno is None and error.errno in (None, errno.EADDRNOTAVAIL))
        return own if is_same else error
    server.close()  # it has become free meanwhile
    return error


def _create_unix_server(original: Original) -> Callable[..., Any]:
    @wraps(original)
    async def create_unix_server(self: asyncio.AbstractEventLoop, *args: Any, **kwargs: Any) -> Any:
        session = sharing_session(self)
        given = None if session is None else arguments_of(original, self, *args, **kwargs)
        if session is None or given is None or given.get("path") is None or given.get("sock") is not None:
            return await original(self, *args, **kwargs)
        await _check_unix(original, self, given)
        plain = plain_path(self, given["path"])
        port = await session.ports.open_path(
            plain,
            named=plain if isinstance(self, asyncio.BaseEventLoop) else given["path"],
            backlog=check_backlog(given.get("backlog", DEFAULT_BACKLOG), self),
            cleanup=bool(given["cleanup_socket"]) if "cleanup_socket" in given else CLEANUP,
            is_listening=bool(given.get("start_serving", True)),
        )
        return _serve(self, [port], given)

    return create_unix_server


async def _check_unix(original: Original, loop: asyncio.AbstractEventLoop, given: dict[str, Any]) -> None:
    """Has the loop check the arguments of a call with a socket that has no address."""
    without: dict[str, Any] = {"path": None, "start_serving": False}
    if takes(original, "cleanup_socket"):
        without["cleanup_socket"] = False
    with socket.socket(socket.AF_UNIX) as unbound:
        server = await original(loop, **{**given, **without, "sock": unbound})
        server.close()


def _serve(loop: asyncio.AbstractEventLoop, ports: list[Port], given: dict[str, Any]) -> ClusterServer:
    tls = {name: given[name] for name in _TLS if given.get(name) is not None}
    server = ClusterServer(loop, ports, given["protocol_factory"], tls)
    if given.get("start_serving", True):
        server.serve()
    return server


CLEANUP = True if sys.version_info >= (3, 13) else None
"""What closing a server does with the file of its socket, by default: before, asyncio leaves it."""

_TLS = ("ssl", "ssl_handshake_timeout", "ssl_shutdown_timeout")

_WRAPPERS: dict[str, Callable[[Original], Callable[..., Any]]] = {
    "run_forever": _run_forever,
    "run_until_complete": _run_until_complete,
    "create_server": _create_server,
    "create_unix_server": _create_unix_server,
    "create_datagram_endpoint": create_datagram_endpoint,
}
