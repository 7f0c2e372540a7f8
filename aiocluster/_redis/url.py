"""Pure: the URL of a Redis, checked, and shown without its passwords.

    redis://[[user]:password@]host[:port][/db]          one server, by TCP
    rediss://…                                          the same with TLS
    unix://[[user]:password@]/path/of/socket[?db=0]     one server on this machine
    redis+sentinel://[…@]host[:port][,host…]/service[/db]   whichever server Sentinel says is the master
    redis+cluster://[…@]host[:port][,host…]             Redis Cluster, found through any of these nodes

``rediss+sentinel://`` and ``rediss+cluster://`` are those with TLS. Options follow as a query: `prefix`, which is this
package's own, and those that redis-py has, such as ``socket_timeout``, ``ssl_ca_certs`` or ``sentinel_password``.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import parse_qsl, unquote

from .._did_you_mean import did_you_mean
from ..errors import BackplaneError

DEFAULT_PREFIX = "aiocluster"
_IN_A_PREFIX = frozenset(string.ascii_letters + string.digits + "._:-")
_KINDS: Mapping[str, Literal["server", "sentinel", "cluster"]] = {
    "redis": "server",
    "rediss": "server",
    "unix": "server",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
SCHEMES = tuple(_KINDS)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]]*))(?::([0-9]{1,5}))?")
_SECRET_OPTION = re.compile(r"(?<=[?&])(\w*(?:password|secret)\w*)=[^&#]*", re.IGNORECASE)


def is_redis(url: str) -> bool:
    """Whether that URL has one of Redis's schemes."""
    return scheme_of(url) in _KINDS


def scheme_of(url: str) -> str:
    """What stands before the first colon, in lower case; empty if there is none, or it can't be printed."""
    head, colon, _ = url.partition(":")
    return head.lower() if colon and head.isprintable() else ""


def redacted(url: str) -> str:
    """That URL with ``***`` in place of its passwords, for logs and errors. It need not be a valid one."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        # Not even a URL: whatever stands before an @ may be a password.
        return f"***@{url.rpartition('@')[2]}" if "@" in url else url
    before, at, after = rest.rpartition("@")
    if at:
        # A password in which "/", "?" or "#" was not escaped ends what urlsplit() takes for the host: thus the last @.
        user, colon, _ = before.partition(":")
        rest = f"{user}{':***' if colon else ''}@{after}"
    elif not all(map(_HOST.fullmatch, re.split("[/?#]", rest, maxsplit=1)[0].split(","))):
        return f"{scheme}://***"  # a password without a host, perhaps
    return _SECRET_OPTION.sub(r"\1=***", f"{scheme}://{rest}")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The URL of a Redis, as its parts. Neither ``str()`` nor ``repr()`` shows a password.

    Attributes:
        shown: The URL less its passwords.
        kind: Whether it leads to one server, to Sentinel or to a Redis Cluster.
        prefix: What the names of all keys and channels begin with.
        tls: Whether connections have TLS.
        socket: The path of the server's Unix socket, or None.
        hosts: Hosts and ports. One for a server; empty if it has a Unix socket.
        service: What Sentinel calls the master; empty without Sentinel.
        user: The name of an ACL user, or None.
        password: Its password, or None.
        db: The number of the database.
        options: What else the query says, for redis-py.
    """

    shown: str
    kind: Literal["server", "sentinel", "cluster"] = field(repr=False)
    prefix: str = field(repr=False)
    tls: bool = field(repr=False)
    socket: str | None = field(repr=False)
    hosts: tuple[tuple[str, int], ...] = field(repr=False)
    service: str = field(repr=False)
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    db: int = field(repr=False)
    options: Mapping[str, str] = field(repr=False)

    def __str__(self) -> str:
        return self.shown


def parse(url: str) -> RedisUrl:
    """Returns the parts of a URL.

    Raises:
        BackplaneError: It is none of a Redis. The text says why, and shows it without its passwords.
    """
    shown = redacted(url)
    try:
        return _parse(url, shown)
    except ValueError as error:
        raise BackplaneError(f"{shown!r} is not the URL of a Redis: {error}") from None


def _parse(url: str, shown: str) -> RedisUrl:
    """The same; its ValueErrors say what is wrong, and no more of the URL than is shown."""
    scheme = scheme_of(url)
    if (kind := _KINDS.get(scheme)) is None:
        raise ValueError(f"there is no scheme {scheme!r}{did_you_mean(scheme, SCHEMES)}")
    if "://" not in url:
        raise ValueError(f"after {scheme}: must follow two slashes")
    if not url.isprintable():
        raise ValueError("it has characters that can't be printed")
    rest = url.partition("://")[2]
    before, _, after = rest.rpartition("@")
    if "@" in before or any(character in before for character in "/?#"):
        raise ValueError("in its user, password and options, write '@' as %40, '/' as %2F, '?' as %3F and '#' as %23")
    places, _, tail = after.partition("?")
    places, slash, path = places.partition("/")
    options = dict(parse_qsl(tail.partition("#")[0], keep_blank_values=True))
    if not set(options.get("prefix", DEFAULT_PREFIX)) <= _IN_A_PREFIX or not (
        prefix := options.pop("prefix", DEFAULT_PREFIX)
    ):
        raise ValueError("its prefix must be letters, digits, '.', '_', ':' and '-'")
    user, _, password = before.partition(":")
    hosts: tuple[tuple[str, int], ...] = ()
    socket, service = None, ""
    if scheme == "unix":
        if places or not path:
            raise ValueError("it must have the absolute path of a socket, as unix:///run/redis.sock has")
        socket, path = unquote(slash + path), ""
    else:
        hosts = tuple(_host(place, 26379 if kind == "sentinel" else 6379) for place in places.split(","))
    if kind == "server" and len(hosts) > 1:
        raise ValueError("only redis+sentinel:// and redis+cluster:// may have several hosts")
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("after its hosts must follow what Sentinel calls the master, as in …:26379/mymaster")
    db = _database(options.pop("db", "") or path.rstrip("/") or "0")
    if kind == "cluster" and db:
        raise ValueError("a Redis Cluster has only the database 0")
    return RedisUrl(
        shown=shown,
        kind=kind,
        prefix=prefix,
        tls=scheme.startswith("rediss"),
        socket=socket,
        hosts=hosts,
        service=unquote(service),
        user=options.pop("username", "") or unquote(user) or None,
        password=options.pop("password", "") or unquote(password) or None,
        db=db,
        options=MappingProxyType(options),
    )


def _host(place: str, default_port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(place)
    if found is None or not 0 < (port := int(found[3] or default_port)) < 65536:
        raise ValueError("it must have a host, or a host and a port, as redis://127.0.0.1:6379 has")
    return found[1] or unquote(found[2]) or "localhost", port


def _database(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise ValueError(f"{text!r} is not the number of a database")
    return int(text)
