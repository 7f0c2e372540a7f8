"""Checks the option ``stdio``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class HasFileno(Protocol):
    """An object with a descriptor, such as an open file or a socket."""

    def fileno(self) -> int: ...


Entry = str | int | HasFileno | None
StdioOption = str | Sequence[Entry]

_ALLOWED = (
    'stdio is "pipe", "ignore" or "inherit" for all three streams, or a tuple (stdin, stdout, stderr), in which each '
    'is one of these words, a descriptor, or an object with fileno(); a fourth entry, "ipc", is the message channel'
)
_WORDS = ("pipe", "ignore", "inherit")


@dataclass(frozen=True, slots=True)
class Plan:
    """The checked option: three streams, each a word or a descriptor, and whether there is a channel."""

    streams: tuple[str | int, str | int, str | int]
    has_channel: bool


def plan(stdio: StdioOption) -> Plan:
    """Checks the option.

    Raises:
        ValueError: The option is invalid; the text says what is allowed.
    """
    entries: list[Entry]
    if isinstance(stdio, str):
        entries = [stdio] * 3
    elif isinstance(stdio, Sequence):
        entries = list(stdio)
    else:
        raise ValueError(f"{_ALLOWED}; not {stdio!r}")
    has_channel = entries[3:] == ["ipc"]
    if entries[3:] and not has_channel:
        raise ValueError(f"{_ALLOWED}; not {stdio!r}")
    stdin, stdout, stderr = (_stream(entry) for entry in [*entries, None, None, None][:3])
    return Plan((stdin, stdout, stderr), has_channel)


def _stream(entry: Entry) -> str | int:
    if entry is None:
        return "pipe"
    if isinstance(entry, str) and entry in _WORDS:
        return entry
    if hasattr(entry, "fileno"):
        entry = entry.fileno()
    if isinstance(entry, int) and not isinstance(entry, bool) and _is_open(entry):
        return entry
    raise ValueError(f"{_ALLOWED}; not {entry!r}" + (", which is not open" if type(entry) is int else ""))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
