"""A log that rotates: ``log``, then ``log.1`` (the newest of the old ones), ``log.2`` and so on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_PIECE = 64 * 1024


class LogFile:
    """The writing end. What can't be written is lost, counted, and said once writing works again.

    Args:
        path: The newest file.
        max_size: Bytes after which it is rotated, at the next line's end.
        keep: How many old files are kept.
    """

    def __init__(self, path: Path, max_size: int, keep: int) -> None:
        self._path = path
        self._max_size = max_size
        self._keep = keep
        self._lost = 0
        self._why_lost = ""
        self._ends_line = True
        self._fd = -1
        self._size = 0
        self._open()

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            self._fd = os.open(self._path, _FLAGS, 0o600)
            self._size = os.fstat(self._fd).st_size

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def write(self, data: bytes) -> None:
        """Writes these bytes. Never raises: the program that they come from goes on, whatever becomes of its log."""
        if self._size >= self._max_size and self._ends_line:
            self._rotate()
        while data:
            end = len(data)
            if self._size + end > self._max_size:  # rotate at the end of a line
                end = data.find(b"\n", max(0, self._max_size - self._size)) + 1 or end
            self._append(data[:end])
            data = data[end:]
            if data:
                self._rotate()

    def note(self, text: str) -> None:
        """Writes a line of the log's own."""
        self.write(b"" if self._ends_line else b"\n")
        self.write(f"--- {text}\n".encode(errors="replace"))

    def _append(self, data: bytes) -> None:
        if self._lost and not self._put(f"--- {self._lost} bytes have been lost: {self._why_lost}\n".encode()):
            self._lost += len(data)
            return
        self._lost = 0
        if written := self._put(data):
            self._ends_line = data[written - 1 : written] == b"\n"
        self._lost += len(data) - written

    def _put(self, data: bytes) -> int:
        """Returns how many of these bytes could be written."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
        except OSError as error:
            self._why_lost = error.strerror or str(error)
        self._size += written
        return written

    def _rotate(self) -> None:
        self.close()
        with contextlib.suppress(OSError):
            for number in range(self._keep, 0, -1):
                newer = numbered(self._path, number - 1)
                if newer.exists():
                    newer.replace(numbered(self._path, number))
            if not self._keep:
                self._path.unlink(missing_ok=True)
        self._size = 0
        self._open()


def numbered(path: Path, number: int) -> Path:
    """Returns the file that has been rotated so many times."""
    return path.with_name(f"{path.name}.{number}") if number else path


def last_lines(path: Path, count: int) -> list[bytes]:
    """Returns the last lines of a log, also those in its old files."""
    return _last_lines(path, 0, count)


def _last_lines(path: Path, number: int, count: int) -> list[bytes]:
    """Returns the last lines of a log as it was before it was rotated so many times."""
    lines: list[bytes] = []
    while len(lines) < count and (file := numbered(path, number)).exists():
        with file.open("rb") as opened:
            lines = _lines_before(opened, opened.seek(0, os.SEEK_END), count - len(lines)) + lines
        number += 1
    return lines


def _lines_before(opened: BinaryIO, position: int, count: int) -> list[bytes]:
    data = b""
    while position > 0 and data.count(b"\n") <= count:
        size = min(_PIECE, position)
        position = opened.seek(position - size)
        data = opened.read(size) + data
    return data.splitlines(keepends=True)[-count:] if count > 0 else []


class Follower:
    """What is written to a log from now on, through its rotations. A context manager, which closes it.

    Args:
        path: The newest file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def last_lines(self, count: int) -> list[bytes]:
        """Returns the last lines of what was written before."""
        position = self._file.tell()
        lines = _lines_before(self._file, position, count)
        self._file.seek(position)
        return _last_lines(self._path, 2 if self._is_rotated() else 1, count - len(lines)) + lines

    def read(self) -> Iterator[bytes]:
        """Yields what has been written since."""
        while True:
            while data := self._file.read(_PIECE):
                yield data
            if not self._is_rotated():
                return
            yield from iter(lambda: self._file.read(_PIECE), b"")  # what came between the two
            self._file.close()
            self._file = self._path.open("rb")

    def _is_rotated(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False
