"""From a URL to connections of redis-py's. The only place where they are made.

Each is one connection, without redis-py's pool and its retries: who uses it sends many commands before the first reply
(`line.py`), or listens (`subscriber.py`), and decides what may be tried again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any
from urllib.parse import urlencode

import redis.exceptions as theirs
from redis.asyncio import RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff

from ..errors import BackplaneError
from .failure import failure
from .url import RedisUrl

DEFAULT_TIMEOUT = 5.0  # seconds, as in redis-py 8

_OF_POOLS = frozenset({"max_connections", "timeout", "retry_on_timeout", "retry_on_error", "health_check_interval"})
_OURS = frozenset({"protocol", "decode_responses", "socket_timeout", "db", "host", "port", "path"})


def timeout_of(url: RedisUrl) -> float:
    """Seconds within which that Redis must answer: what the option ``socket_timeout`` says.

    Raises:
        BackplaneError: It is no number of seconds.
    """
    text = url.options.get("socket_timeout", str(DEFAULT_TIMEOUT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86400:
        raise BackplaneError(f"{url} is not the URL of a Redis: socket_timeout must be seconds above 0, not {text!r}")
    return seconds


async def connect(url: RedisUrl) -> AbstractConnection:
    """Returns a new connection, authenticated and with its database chosen, which the caller must disconnect.

    To a Redis Cluster, it is one to any of its nodes. It speaks RESP2, and has no timeout of its own.

    Raises:
        BackplaneError: There is none within the URL's ``socket_timeout``.
    """
    errors = []
    timeout = timeout_of(url)
    try:
        async with asyncio.timeout(timeout):
            if url.kind == "sentinel":
                return await _connected(url, _connection(url, *await _master(url)))
            for host, port in url.hosts or (("", 0),):
                try:
                    return await _connected(url, _connection(url, host, port))
                except (theirs.RedisError, OSError) as error:
                    errors.append(error)
            raise errors[-1]
    except TimeoutError:
        raise failure(url, TimeoutError(f"no connection within {timeout:g} s")) from None
    except (theirs.RedisError, OSError) as error:
        raise failure(url, error) from None


def socket_of(connection: AbstractConnection) -> socket.socket | None:
    """The socket of a connection of redis-py's, which has no public name; None if it is not connected."""
    writer: asyncio.StreamWriter | None = getattr(connection, "_writer", None)
    return None if writer is None else writer.get_extra_info("socket")


def abandon(connection: AbstractConnection) -> None:
    """Closes the copy of a connection in a forked child of the process. Touches no event loop.

    The descriptor's number stays in use, for what else in the child may close it one day.
    """
    if (ours := socket_of(connection)) is not None:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, ours.fileno(), inheritable=False)
        os.close(null)


async def _connected(url: RedisUrl, connection: AbstractConnection) -> AbstractConnection:
    try:
        await connection.connect()
    except BaseException:  # a cancellation, too
        await connection.disconnect(nowait=True)
        raise
    return connection


def _connection(url: RedisUrl, host: str, port: int) -> AbstractConnection:
    kind: type[Any]
    place: dict[str, Any]
    if url.socket is not None:
        kind, place = UnixDomainSocketConnection, {"path": url.socket}
    else:
        kind, place = SSLConnection if url.tls else Connection, {"host": host, "port": port}
    try:
        connection: AbstractConnection = kind(**place, **_keywords(url), db=url.db, protocol=2, socket_timeout=None)
        return connection
    except (TypeError, ValueError, theirs.RedisError) as error:  # an option that redis-py does not know, or not thus
        raise BackplaneError(f"{url} has an option that redis-py refuses: {error}") from None


def _keywords(url: RedisUrl) -> dict[str, Any]:
    """The arguments of redis-py's connections, whose parser of URLs gives the options their types."""
    options = {name: value for name, value in url.options.items() if not name.startswith("sentinel_")}
    try:
        parsed = dict(parse_url(f"redis://?{urlencode(options)}"))
    except ValueError as error:
        raise BackplaneError(f"{url} has an option that redis-py refuses: {error}") from None
    keywords = {name: value for name, value in parsed.items() if name not in _OF_POOLS | _OURS}
    keywords["socket_connect_timeout"] = keywords.get("socket_connect_timeout") or timeout_of(url)
    return {**keywords, "username": url.user, "password": url.password}


async def _master(url: RedisUrl) -> tuple[str, int]:
    """Asks Sentinel. It is asked anew for each connection, because another may be the master by then."""
    timeout = timeout_of(url)
    own = {name.removeprefix("sentinel_"): value for name, value in url.options.items() if name.startswith("sentinel_")}
    tls = {name: value for name, value in _keywords(url).items() if name.startswith("ssl_")}
    sentinel = Sentinel(
        url.hosts,
        sentinel_kwargs={**own, **tls, "ssl": url.tls, "socket_timeout": timeout, "retry": Retry(NoBackoff(), 0)},
    )
    try:
        host, port = await sentinel.discover_master(url.service)
        return host, port
    except MasterNotFoundError:  # whose text shows redis-py's pools, in some versions with a password
        raise theirs.ConnectionError(
            f"No master found for {url.service!r}: no Sentinel there answers, or none knows it"
        ) from None
    finally:
        for one in sentinel.sentinels:
            await one.aclose()


def cluster(url: RedisUrl) -> RedisCluster:
    """Returns redis-py's client of a Redis Cluster, which the caller must close. It is not connected yet.

    It repeats no command after a connection has broken: who has sent it decides about that.
    """
    try:
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in url.hosts],
            **_keywords(url),
            ssl=url.tls,
            protocol=2,
            socket_timeout=timeout_of(url),
            retry=Retry(NoBackoff(), 0),
        )
    except (TypeError, ValueError, theirs.RedisError) as error:
        raise BackplaneError(f"{url} has an option that redis-py refuses: {error}") from None
