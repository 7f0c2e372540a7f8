"""What is remembered of clusters that were started in the background, in the state folder.

=====================  ===========================================================================================
``NAME/start.json``    how it was started: words, folder, environment (0600: there may be secrets in it)
``NAME/exit.json``     how it has ended; missing while it runs
``NAME/log``           what it has written
``NAME/keeper``        locked by its keeper while that runs
``NAME/starting``      locked by who starts it, until it has its name
``.saved.json``        what `save` has saved: of each cluster what is in ``start.json``
=====================  ===========================================================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from .folders import existing_state_folder, is_private, state_folder

_SAVED = ".saved.json"  # no cluster has such a name
_POLL = 0.005  # seconds between tries to get a lock
_PATIENCE = 0.2  # seconds: who looks whether one is held has it for an instant

Lock = Literal["keeper", "starting"]


class HeldError(Exception):
    """Another process has the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a cluster was started.

    Attributes:
        name: Its name.
        target: What it runs, to be shown.
        words: What follows ``aiocluster run``.
        cwd: The working directory.
        env: The whole environment.
        executable: The interpreter.
        log_max_size: Bytes after which its log is rotated.
        log_keep: How many old logs are kept.
        started_at: When, in ISO 8601.
    """

    name: str
    target: str
    words: list[str]
    cwd: str
    env: dict[str, str]
    executable: str
    log_max_size: int
    log_keep: int
    started_at: str


@dataclass(frozen=True, slots=True)
class Memory:
    """The files of one cluster.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    @property
    def log(self) -> Path:
        """The newest log."""
        return self.folder / "log"

    @property
    def start(self) -> Start | None:
        """How it was started; None if that can't be read."""
        return _start_of(_read(self.folder / "start.json"))

    @property
    def exit(self) -> dict[str, Any] | None:
        """How it has ended: ``code``, ``signal``, ``at``; None if it has not, or nobody was there to see it."""
        found = _read(self.folder / "exit.json")
        return found if isinstance(found, dict) else None

    def remember(self, start: Start) -> None:
        """Keeps how it is started. How it ended before is forgotten."""
        _write(self.folder / "start.json", asdict(start))
        (self.folder / "exit.json").unlink(missing_ok=True)

    def update(self, start: Start) -> None:
        """Keeps how it will be started the next time."""
        _write(self.folder / "start.json", asdict(start))

    def ended(self, code: int | None, signal: str | None, at: str) -> None:
        """Keeps how it has ended."""
        with contextlib.suppress(OSError):  # it has been deleted, or the disk is full
            _write(self.folder / "exit.json", {"code": code, "signal": signal, "at": at})

    @contextlib.contextmanager
    def held(self, lock: Lock, seconds: float = _PATIENCE) -> Iterator[int]:
        """Locks a file while the block is open, and yields its descriptor.

        A process that inherits the descriptor keeps the lock until it ends, however it ends.

        Args:
            lock: Which.
            seconds: How long to wait for another that has it.

        Raises:
            HeldError: Another still has it.
            OSError: The file can't be made or locked.
        """
        deadline = time.monotonic() + seconds
        fd = os.open(self.folder / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise HeldError(f"{self.folder / lock} is locked") from None
                time.sleep(_POLL)
            yield fd
        finally:
            os.close(fd)

    def is_held(self, lock: Lock) -> bool:
        """Whether a process has this lock."""
        try:
            with open(self.folder / lock, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def forget(self) -> None:
        """Deletes all of it, the logs too."""
        shutil.rmtree(self.folder)


def memory_of(name: str) -> Memory:
    """Returns the memory of this cluster, which may be empty.

    Raises:
        FolderError: There is no state folder.
    """
    return Memory(state_folder() / name)


def memories() -> dict[str, Memory]:
    """Returns all memories by name."""
    folder = existing_state_folder()
    if folder is None:
        return {}
    return {
        one.name: Memory(one) for one in sorted(folder.iterdir()) if not one.name.startswith(".") and is_private(one)
    }


def save(starts: list[Start]) -> None:
    """Keeps these to be started by `saved`."""
    _write(state_folder() / _SAVED, [asdict(start) for start in starts])


def saved() -> list[Start]:
    """Returns what was saved last."""
    found = _read(state_folder() / _SAVED)
    starts = map(_start_of, found) if isinstance(found, list) else ()
    return [start for start in starts if start is not None]


def _start_of(found: Any) -> Start | None:
    if not isinstance(found, dict):
        return None
    try:
        return Start(**{one.name: found[one.name] for one in fields(Start)})
    except KeyError:
        return None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _write(path: Path, what: Any) -> None:
    """Replaces a file at once: whoever reads it sees the old or the new one."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(what, file, ensure_ascii=True)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
