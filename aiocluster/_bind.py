"""Where an ASGI app is served, as text and as data. Pure."""

from __future__ import annotations

from typing import NamedTuple


class BindAddress(NamedTuple):
    """One address that an ASGI app is served at: host and port, or a path, or a descriptor.

    Attributes:
        host: A name or an IP address; ``"::"`` and ``""``: all interfaces, both families.
        port: The port number; 0: a free one.
        path: A Unix socket's path.
        mode: The permissions of its file.
        fd: A descriptor of the primary's.
    """

    host: str = ""
    port: int = 0
    path: str | None = None
    mode: int | None = None
    fd: int | None = None


DEFAULT = BindAddress("127.0.0.1", 8000)
"""Where an app is served if nothing else is said: uvicorn's default."""

_FORMS = "HOST:PORT, [IPV6]:PORT, unix:PATH or fd://NUMBER"


def parse_bind(name: str, text: str, mode: int) -> BindAddress:
    """Returns the address that ``text`` means: ``127.0.0.1:8000``, ``[::]:8000``, ``:8000``, ``unix:/path``, ``fd://3``.

    Args:
        name: The option's name. The error's text begins with it.
        text: The address.
        mode: The permissions of the file, if it is a Unix socket.

    Raises:
        ValueError: It is none of these.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path[2:] if path.startswith("///") else path  # unix:///run/shop.sock is the absolute path
        if not path:
            raise ValueError(f"{name}: {text!r} names no path")
        return BindAddress(path=path, mode=mode)
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not number.isdecimal():
            raise ValueError(f"{name}: {text!r} names no descriptor: it is {_FORMS}")
        return BindAddress(fd=int(number))
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        raise ValueError(f"{name} must be {_FORMS}, not {text!r}")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not is_bracketed:
        raise ValueError(f"{name}: an IPv6 address stands in brackets, as in [::1]:8000, not {text!r}")
    return BindAddress(host[1:-1] if is_bracketed else host, port_of(name, int(port)))


def port_of(name: str, port: int) -> int:
    """Returns ``port``.

    Raises:
        ValueError: It is out of range.
    """
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{name}: a port is a number from 0 to 65535, not {port}")
    return port
