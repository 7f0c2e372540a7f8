"""A name is claimed by a locked file: the kernel lets go of the lock when the process ends, however it ends.

The file ``NAME.pid`` says which process has the name. Where nobody holds the lock, that process has died.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_TRIES, _PAUSE = 5, 0.002  # who looks at a claim holds its lock for an instant
_MOST = 64 * 1024  # bytes of a claim's file that are read


class NameInUseError(Exception):
    """A running cluster has this name.

    Attributes:
        name: The name.
        pid: Its process; None if that is unknown.
    """

    def __init__(self, name: str, pid: int | None) -> None:
        self.name, self.pid = name, pid
        by = f" by pid {pid}" if pid else ""
        super().__init__(f"the name {name!r} is in use{by}: choose another (name=, --name), or stop that one")


class Claim:
    """A name that this process has."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    @property
    def socket(self) -> Path:
        """Where this name's socket is."""
        return self._path.with_suffix(".sock")

    def release(self) -> None:
        """Gives the name up, and removes its files. Idempotent."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        try:
            _remove(self._path)
        finally:
            os.close(fd)


def claim(folder: Path, name: str, about: dict[str, Any]) -> Claim:
    """Claims the name for this process, and removes the socket of one that has died.

    Args:
        folder: The runtime folder.
        name: The name.
        about: What others may know of this process, as JSON carries it.

    Raises:
        NameInUseError: A running process has it.
        OSError: The file can't be made.
    """
    path = folder / f"{name}.pid"
    for attempt in range(_TRIES):
        with contextlib.ExitStack() as unclaimed:
            fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
            unclaimed.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if attempt == _TRIES - 1:
                    raise NameInUseError(name, _pid(_read(fd))) from None
                time.sleep(_PAUSE)
                continue
            if _is_still(fd, path):
                _unlink(path.with_suffix(".sock"))
                os.ftruncate(fd, 0)
                os.write(fd, json.dumps({**about, "pid": os.getpid()}).encode())
                unclaimed.pop_all()
                return Claim(fd, path)
    raise NameInUseError(name, None)


def claim_free(folder: Path, name: str, about: dict[str, Any]) -> tuple[str, Claim]:
    """Claims the name, or the first free of NAME-2, NAME-3, … Returns which, and the claim.

    Raises:
        OSError: The file can't be made.
        NameInUseError: A thousand are in use.
    """
    for number in range(1, 1000):
        candidate = name if number == 1 else f"{name}-{number}"
        with contextlib.suppress(NameInUseError):
            return candidate, claim(folder, candidate, about)
    raise NameInUseError(name, None)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim that was found.

    Attributes:
        name: The name.
        socket: Where its socket is; there may be none.
        is_alive: Whether the process that has claimed it still runs.
        about: What that process has told of itself: ``pid`` and more. Empty if it can't be read.
    """

    name: str
    socket: Path
    is_alive: bool
    about: dict[str, Any]

    @property
    def pid(self) -> int | None:
        """The process that has claimed it."""
        return _pid(self.about)


def find(folder: Path) -> list[Claimed]:
    """Returns the claims in a runtime folder, by name."""
    found = (_look(path) for path in sorted(folder.glob("*.pid")))
    return [one for one in found if one is not None]


def _look(path: Path) -> Claimed | None:
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return None
    try:
        is_alive = _is_locked(fd)
        if not is_alive and not _is_still(fd, path):
            return None  # it has just been given up
        return Claimed(path.stem, path.with_suffix(".sock"), is_alive, _read(fd))
    finally:
        os.close(fd)


def forget(claimed: Claimed) -> None:
    """Removes the files of a process that has died. Does nothing if somebody has claimed the name again."""
    path = claimed.socket.with_suffix(".pid")
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still(fd, path):
            _remove(path)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _is_still(fd: int, path: Path) -> bool:
    """Whether the path leads to the open file: its last owner may have removed it between open and lock."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _read(fd: int) -> dict[str, Any]:
    try:
        about = json.loads(os.pread(fd, _MOST, 0))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _pid(about: dict[str, Any]) -> int | None:
    pid = about.get("pid")
    return pid if type(pid) is int and pid > 0 else None


def _remove(path: Path) -> None:
    _unlink(path.with_suffix(".sock"))
    _unlink(path)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
