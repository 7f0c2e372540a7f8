"""Where the state is kept, as a URL. Pure."""

from __future__ import annotations

import urllib.parse

MEMORY = "memory:"
"""The default."""


def is_hidden(url: str) -> bool:
    """Whether a process of the cluster keeps it. If not, each process speaks to a server itself."""
    return scheme(url) in ("memory", "sqlite")


def scheme(url: str) -> str:
    """What stands before the first colon, in lower case."""
    return url.partition(":")[0].lower()


def check_hidden(url: str) -> None:
    """Raises ValueError if a URL for which `is_hidden` is true is wrong."""
    if scheme(url) == "sqlite":
        parse_sqlite(url)
    elif url.partition(":")[2]:
        raise ValueError(f'{url!r} has something after "memory:", which takes no options')


def parse_sqlite(url: str) -> tuple[str, str]:
    """The path, and the setting ``synchronous``, of a URL such as ``sqlite:///data/state.db?synchronous=full``.

    As SQLAlchemy has it, three slashes are followed by a path from the working directory, and four by one from the
    root.

    Raises:
        ValueError: It is no such URL.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        options = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        path = urllib.parse.unquote(parts.path.removeprefix("/"))
        synchronous = options.pop("synchronous", "normal")
        if not parts.netloc and not parts.fragment and path and not options and synchronous in ("normal", "full"):
            return path, synchronous
    except ValueError:
        pass
    raise ValueError(f'{url!r} is no URL such as "sqlite:///state.db" or "sqlite:////data/state.db?synchronous=full"')
