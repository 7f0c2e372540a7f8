"""Where to listen, as text: ``127.0.0.1:9000``, ``[::1]:9000``, ``:9000`` or ``unix:/path``. Pure."""

from __future__ import annotations

from typing import NamedTuple

_FORMS = '"host:port", "[IPv6]:port", ":port" (all IPv4 addresses) or "unix:/path"'


class ListenText(NamedTuple):
    """Where to listen.

    Attributes:
        host: A name or an IP address; empty for a path.
        port: The port number; 0: any free one.
        path: The path of a Unix socket; empty for a host.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(name: str, text: object) -> ListenText:
    """Returns where ``text`` says to listen.

    Args:
        name: The setting's name. The error's text begins with it.
        text: The value that was given.

    Raises:
        TypeError: It is not a str.
        ValueError: It has none of the forms, or the port is not within 0-65535.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be {_FORMS}, not {text!r}")
    found = _parsed(text)
    if found is None or any(part != part.strip() or "\0" in part for part in (found.host, found.path)):
        raise ValueError(f"{name} must be {_FORMS}, not {text!r}")
    if found.port > 0xFFFF:
        raise ValueError(f"{name}: the port must be within 0-65535, not {found.port}")
    return found


def _parsed(text: str) -> ListenText | None:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        return ListenText(path=path) if path else None
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()) or len(port) > 9:
        return None
    is_bracketed = host.startswith("[") and host.endswith("]")
    if is_bracketed:
        host = host[1:-1]
    if (":" in host) != is_bracketed or "/" in host:
        return None
    return ListenText(host or "0.0.0.0", int(port))
