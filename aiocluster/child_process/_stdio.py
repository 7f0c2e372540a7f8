"""The standard streams of a child that is about to start: what may be asked for, and who holds which end."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .._processes.pipes import PipeReader, PipeWriter


class HasFileno(Protocol):
    """An open file, a socket: what has a descriptor."""

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
    """What was asked for, checked: three streams (a word or a descriptor each), and whether there is a channel."""

    streams: tuple[str | int, str | int, str | int]
    has_channel: bool


def plan(stdio: StdioOption) -> Plan:
    """Checks what was asked for.

    Raises:
        ValueError: It is nothing that is allowed; the text says what is.
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


class Stdio:
    """The opened streams: the child's ends, and ours.

    Attributes:
        theirs: The child's three, as `subprocess.Popen` takes them.
        their_channel: The child's end of the message channel; None if there is none.
        stdin: Our end of its standard input; None unless it is a pipe.
        stdout: Likewise.
        stderr: Likewise.
        channel: Our end of the message channel; None if there is none.
    """

    def __init__(self) -> None:
        self.theirs: tuple[int | None, int | None, int | None] = (None, None, None)
        self.their_channel: socket.socket | None = None
        self.stdin: PipeWriter | None = None
        self.stdout: PipeReader | None = None
        self.stderr: PipeReader | None = None
        self.channel: socket.socket | None = None

    def close(self) -> None:
        """Closes our ends of the pipes; the channel is its owner's."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def opened(planned: Plan) -> Iterator[Stdio]:
    """Opens them; afterwards the child's ends are closed here, and if the start fails ours too.

    Raises:
        OSError: There are no descriptors left.
    """
    stdio = Stdio()
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as undo:
        undo.callback(stdio.close)
        first, second, third = planned.streams
        stdin: int | None
        if first == "pipe":
            stdin, ours = os.pipe()
            theirs.callback(os.close, stdin)
            stdio.stdin = PipeWriter(ours)
        else:
            stdin = _given(first)
        stdout, stdio.stdout = _output(second, theirs)
        stderr, stdio.stderr = _output(third, theirs)
        stdio.theirs = (stdin, stdout, stderr)
        if planned.has_channel:
            stdio.channel, stdio.their_channel = socket.socketpair()
            undo.callback(stdio.channel.close)
            theirs.callback(stdio.their_channel.close)
        yield stdio
        undo.pop_all()


def _output(entry: str | int, theirs: contextlib.ExitStack) -> tuple[int | None, PipeReader | None]:
    if entry != "pipe":
        return _given(entry), None
    ours, write = os.pipe()
    theirs.callback(os.close, write)
    return write, PipeReader(ours)


def _given(entry: str | int) -> int | None:
    if isinstance(entry, int):
        return entry
    return subprocess.DEVNULL if entry == "ignore" else None
