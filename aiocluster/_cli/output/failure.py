"""Why a cluster could not start, in one line that says what to do."""

from __future__ import annotations

import errno
import os

from ...errors import StartupError
from .holder import holder_of

_PAGE = "https://github.com/aiocluster/aiocluster/blob/main/docs/reference/listening.md#servers-that-bind-by-themselves"
_UNPRIVILEGED = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def in_one_line(error: Exception) -> str:
    """Returns the text of an error. If an address was in use or not allowed, it says who has it, or what to do."""
    if not isinstance(error, StartupError) or error._refused is None:
        return str(error)
    code, address = error._refused
    if address is None:
        return _by_itself(code)
    text = _in_use(address) if code == errno.EADDRINUSE else _not_allowed(code, address, error._setting)
    return text if error._setting is None else f"{error._setting}: {text}"


def _by_itself(code: int) -> str:
    if code != errno.EADDRINUSE:
        return f"the target may not use an address that it binds by itself: {os.strerror(code)}; see {_PAGE}"
    return (
        "the target binds an address by itself that is in use, by another worker or another program. "
        f"Workers share what is opened through asyncio; see {_PAGE}"
    )


def _in_use(address: str) -> str:
    holder = holder_of(address)
    return f"{address} is in use" + (f", by {holder}" if holder else "")


def _not_allowed(code: int, address: str, setting: str | None) -> str:
    what = f"{address} can't be opened: {os.strerror(code)}"
    if address.startswith("unix:"):
        folder = os.path.dirname(address.removeprefix("unix:")) or "."
        user = "the workers' user" if setting is None else "this command's user"
        return f"{what}; {user} needs write permission in {folder}"
    first = _first_unprivileged()
    if int(address.rpartition(":")[2]) < first:
        return (
            f"{what}; ports below {first} need a right (CAP_NET_BIND_SERVICE): take one from {first} on, "
            "or let systemd open it (socket activation)"
        )
    return what


def _first_unprivileged() -> int:
    try:
        with open(_UNPRIVILEGED) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024
