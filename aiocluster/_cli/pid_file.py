"""The file that has the process id of a command while its workers are up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SLACK = 2.0  # seconds by which the clocks of files and processes may differ


class PidFileError(Exception):
    """The file has the id of another process that runs, or can't be written."""


def check(path: str) -> None:
    """Checks that the file could be written, and that it has the id of no other process that runs.

    A process that started after the file was written is another one, which has got the same id: then the file is stale.

    Raises:
        PidFileError: It has the id of a process that runs.
        ValueError: There is no such folder, or nothing may be written there.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"--pid-file: there is no folder {folder}")
    if os.path.isdir(path):
        raise ValueError(f"--pid-file: {path} is a folder")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"--pid-file: nothing can be written in {folder}")
    try:
        pid = int(Path(path).read_bytes())
        written = os.stat(path).st_mtime
    except (FileNotFoundError, ValueError):  # none, or empty, or no pid file: a crash may leave it so
        return
    if pid > 0 and pid != os.getpid() and _runs_since(pid) <= written + _SLACK:
        raise PidFileError(
            f"--pid-file: {path} has the id of process {pid}, which runs: end that first, or name another file"
        )


@contextmanager
def written(path: str | None) -> Iterator[None]:
    """Writes the file, and removes it in the end if it still has this process's id.

    Raises:
        PidFileError: It has the id of another process that runs, or can't be written.
    """
    if path is None:
        yield
        return
    path = os.path.abspath(path)
    try:
        check(path)
        _write(path)
    except (OSError, ValueError) as error:
        raise PidFileError(f"--pid-file: {path} can't be written: {error}") from None
    try:
        yield
    finally:
        try:
            if Path(path).read_bytes().strip() == b"%d" % os.getpid():
                os.unlink(path)
        except OSError:
            pass  # it is gone already, or its folder is


def _write(path: str) -> None:
    """Writes it at once, so that nobody reads half a number."""
    fd, new = tempfile.mkstemp(prefix=".pid-", dir=os.path.dirname(path))
    try:
        with open(fd, "wb") as file:
            file.write(b"%d\n" % os.getpid())
            os.fchmod(fd, 0o644)
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def _runs_since(pid: int) -> float:
    """Returns when that process started, as a time of files; infinity if none runs, and 0 if that can't be told."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return float("inf")
    except PermissionError:
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        booted = next(line.split()[1] for line in Path("/proc/stat").read_bytes().splitlines() if b"btime" in line)
    except (OSError, StopIteration):
        return 0.0
    if fields[0] in (b"Z", b"X"):
        return float("inf")
    return int(booted) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
