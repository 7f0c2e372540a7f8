"""Which changed files count for the setting ``reload_on_change``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath

from ..settings import StrPath

INCLUDED = ("*.py",)
"""What counts in a watched folder, beside the setting ``reload_include``."""

EXCLUDED = (
    *("__pycache__", "site-packages", "node_modules", "venv"),
    *(".*", "*~", "*.sw?", "*.py[cod]", "#*#", "flycheck_*"),  # also .git, .venv, .mypy_cache
)
"""What does not count there, with all that is in it, beside the setting ``reload_exclude``."""

_NAMED = 3  # how many files a line names


class ChangedFiles:
    """Says whether a changed file counts.

    Args:
        paths: The folders and files of the setting. A file that is named here counts whatever its name is.
        include: Glob patterns of files that count beside `INCLUDED`.
        exclude: Glob patterns of files and folders that do not, beside `EXCLUDED`. They go before ``include``.

    Attributes:
        watched: The absolute paths to watch, without those that are in another one. Of a file it is the folder:
            editors replace files, and a replaced file is no longer watched.
    """

    def __init__(self, paths: Sequence[StrPath], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        absolute = [os.path.realpath(path) for path in paths]
        self._files = frozenset(path for path in absolute if not os.path.isdir(path))
        self._folders = _outermost([path for path in absolute if path not in self._files])
        self._include = (*INCLUDED, *include)
        self._exclude = (*EXCLUDED, *exclude)
        self.watched: Sequence[str] = _outermost([*self._folders, *map(os.path.dirname, self._files)])

    def counts(self, path: str) -> bool:
        """Whether a change of this file, an absolute path, counts."""
        if path in self._files:
            return True
        folder = next((folder for folder in self._folders if _is_in(path, folder)), None)
        if folder is None:
            return False
        below = PurePath(os.path.relpath(path, folder))
        if any(_matches(part, self._exclude) for part in (below, *below.parents)):
            return False
        return _matches(below, self._include)


def in_words(paths: Sequence[str], here: str) -> str:
    """Returns the paths for a line of text: relative to ``here`` if they are in it, and only the first few."""
    here = os.path.realpath(here)
    names = [os.path.relpath(path, here) if _is_in(path, here) else path for path in paths]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _outermost(paths: Sequence[str]) -> list[str]:
    found: list[str] = []
    for path in sorted(set(paths), key=len):
        if not any(_is_in(path, other) for other in found):
            found.append(path)
    return found


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _matches(path: PurePath, patterns: Sequence[str]) -> bool:
    return path != PurePath() and any(path.match(pattern) for pattern in patterns)
