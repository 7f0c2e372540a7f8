"""How the options' values are written: on the command line and in variables as text, in TOML also as numbers and lists.

Each function reads one value, and raises ValueError with a text that says what is expected. Pure but for the users and
groups of this system.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from ..settings import RestartPolicy, Workers

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Value(click.ParamType[Any]):
    """The type of an option whose values a function reads.

    Args:
        name: What a value is, as ``--help`` shows it.
        read: Reads a value, or raises ValueError or TypeError with the text of the error.
    """

    def __init__(self, name: str, read: Callable[[Any], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        try:
            return self._read(value)
        except (TypeError, ValueError) as error:
            self.fail(str(error), parameter, context)

    def split_envvar_value(self, value: str) -> list[str]:
        """Returns the values of an option that may be repeated: separated by blanks, quoted as in a shell."""
        try:
            return shlex.split(value)
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is not quoted as in a shell: {error}") from None


def text(value: Any) -> str:
    """Reads text, such as a path."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    if "\0" in value:
        raise ValueError(f"{value!r} has a null character")
    return value


def whole(value: Any) -> int:
    """Reads ``4``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(text(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a whole number") from None


def workers(value: Any) -> Workers:
    """Reads ``4``, ``auto``, ``2:8`` or, in TOML, ``[2, 8]``."""
    if value == "auto":
        return "auto"
    low, colon, high = value.partition(":") if isinstance(value, str) else (value, "", "")
    try:
        if isinstance(value, list):
            first, last = value
            return whole(first), whole(last)
        return (whole(low), whole(high)) if colon else whole(low)
    except ValueError:
        raise ValueError(f"{value!r} is neither a number, nor LOW:HIGH, nor auto") from None


def seconds(value: Any) -> float:
    """Reads ``90``, ``1.5``, ``500ms``, ``30s``, ``5m``, ``2h`` or ``1d``."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"([0-9.]+)\s*([a-z]*)", value) if isinstance(value, str) else None
    try:
        if found is not None:
            return float(found[1]) * _SECONDS[found[2]]
    except (KeyError, ValueError):
        pass
    raise ValueError(f"{value!r} is neither a number of seconds nor one with ms, s, m, h or d, such as 5m")


def size(value: Any) -> int:
    """Reads a number of bytes: ``1000``, ``512K``, ``512M`` or ``1.5G``, by powers of 1,024."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)(?:i?B)?", value, re.IGNORECASE) if isinstance(value, str) else None
    try:
        if found is not None:
            return round(float(found[1]) * _SIZES[found[2].upper()])
    except ValueError:
        pass
    raise ValueError(f"{value!r} is neither a number of bytes nor one with K, M, G or T, such as 512M")


def weights(value: Any) -> tuple[int, ...]:
    """Reads ``3,1,1`` or, in TOML, ``[3, 1, 1]``."""
    return tuple(whole(one) for one in (value.split(",") if isinstance(value, str) else value))


def pair(what: str) -> Callable[[Any], tuple[str, str]]:
    """Returns what reads ``NAME=VALUE``, called so in errors."""

    def read(value: Any) -> tuple[str, str]:
        name, equals, rest = text(value).partition("=")
        if not equals or not name:
            raise ValueError(f"{value!r} is not {what}")
        return name, rest

    return read


def user(value: Any) -> int:
    """Reads a user's name or number."""
    import pwd

    return _number_of(value, lambda name: pwd.getpwnam(name).pw_uid, "user")


def group(value: Any) -> int:
    """Reads a group's name or number."""
    import grp

    return _number_of(value, lambda name: grp.getgrnam(name).gr_gid, "group")


def _number_of(value: Any, find: Callable[[str], int], what: str) -> int:
    if not isinstance(value, str) or value.isdecimal():
        return whole(value)
    try:
        return find(value)
    except KeyError:
        raise ValueError(f"there is no {what} {value!r} on this system") from None


def restart(value: Any) -> RestartPolicy | bool:
    """Reads ``no``, ``10/60`` (this many in so many seconds) or, in TOML, ``false`` or a table of a RestartPolicy."""
    if value is False or (isinstance(value, str) and value.lower() in ("no", "false", "never")):
        return False
    if isinstance(value, Mapping):
        known: Mapping[str, Callable[[Any], Any]] = {"limit": whole, "period": seconds, "backoff": backoff}
        if unknown := [key for key in value if key not in known]:
            raise ValueError(f"there is no {unknown[0]!r} in it, only {', '.join(known)}")
        return RestartPolicy(**{key: known[key](one) for key, one in value.items()})
    limit, slash, period = value.partition("/") if isinstance(value, str) else (value, "", "")
    try:
        return RestartPolicy(whole(limit), seconds(period)) if slash else RestartPolicy(whole(limit))
    except TypeError as error:
        raise ValueError(str(error)) from None
    except ValueError as error:
        raise ValueError(f"{value!r} is neither LIMIT/SECONDS, such as 10/60, nor no: {error}") from None


def backoff(value: Any) -> tuple[float, float]:
    """Reads ``0:5`` or, in TOML, ``[0, 5]``."""
    parts: Sequence[Any] = value.split(":") if isinstance(value, str) else value
    if not isinstance(parts, list) or len(parts) != 2:
        raise ValueError(f"{value!r} is not SHORTEST:LONGEST, two numbers of seconds such as 0:5")
    return seconds(parts[0]), seconds(parts[1])


def mode(value: Any) -> int:
    """Reads permissions: ``660``, ``0660`` or ``0o660``; in TOML a number counts as it is, such as 0o660."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        try:
            number = int(text(value), 8)
        except ValueError:
            raise ValueError(f"{value!r} is not an octal number such as 660") from None
    if not 0 <= number <= 0o777:
        raise ValueError(f"{value!r} is not between 0 and 777, octal")
    return number
