"""The folders that this process was started from, as they are now: a deploy that switches a symbolic link is followed.

The kernel and Python resolve links at once: `os.getcwd`, ``sys.path[0]`` and a relative ``__file__`` name the release
that ran first. A worker that is started after ``ln -sfn releases/2 current`` must come from the second one, also when
the first has been deleted. So the working directory is known by ``PWD``, in which a shell keeps the links, as gunicorn
does it, and the main script's folder by the path that it was run by. Both are resolved when a worker starts, so the
modules of one worker come from one release.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator


class Folders:
    """This process's working directory and its main script's folder."""

    def __init__(self) -> None:
        self._here: tuple[int, int] | None = None
        self._cwd: str | None = None  # with links
        self._cwd_then = ""  # without
        self._look()
        self._main = _main_file()  # with links
        self._main_then = _folder_of(self._main)

    def _look(self) -> None:
        here = _identity(".")
        if here is None or here != self._here:  # the first time, or os.chdir() has been called since
            self._here, self._cwd = here, _named_cwd(here)
            self._cwd_then = os.path.realpath(self._cwd) if self._cwd else ""

    def cwd(self, given: str | os.PathLike[str] | None = None) -> str | None:
        """Returns the working directory of workers; None: they inherit this process's, which has been deleted.

        Args:
            given: The setting ``cwd``; None: as this process's.
        """
        self._look()
        own = self._cwd if self._cwd and os.path.isdir(self._cwd) else None
        return own if given is None else self.now(os.path.join(own or "", os.fspath(given)))

    def now(self, path: str) -> str:
        """Returns where ``path`` is now, if it is in one of the folders that this process was started from.

        What exists is not replaced by what doesn't.
        """
        for then, now in self._moved():
            if path == then or path.startswith(f"{then}/"):
                moved = now + path[len(then) :]
                return moved if os.path.exists(moved) or not os.path.exists(path) else path
        return path

    def _moved(self) -> Iterator[tuple[str, str]]:
        """Yields each folder whose links now lead elsewhere: where it was, and where it is."""
        for then, now in (
            (self._cwd_then, os.path.realpath(self._cwd) if self._cwd else ""),
            (self._main_then, _folder_of(self._main)),
        ):
            if then and now and then != now:
                yield then, now

    def path(self) -> list[str]:
        """Returns ``sys.path`` as it is now, with the working directory in place of ""."""
        entries = (entry for entry in sys.path if isinstance(entry, str))  # Python ignores others
        return [self.now(entry) if entry else os.path.realpath(self.cwd() or ".") for entry in entries]


def _main_file() -> str:
    file = getattr(sys.modules["__main__"], "__file__", None)
    return file if isinstance(file, str) and os.path.isabs(file) else ""


def _folder_of(file: str) -> str:
    """Returns what Python makes ``sys.path[0]`` for this script."""
    return os.path.dirname(os.path.realpath(file)) if file else ""


def _named_cwd(here: tuple[int, int] | None) -> str | None:
    """Returns the path of the working directory: ``PWD`` if that is it, else the one without links."""
    given = os.environ.get("PWD", "")
    if os.path.isabs(given) and here is not None and _identity(given) == here:
        return given
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
