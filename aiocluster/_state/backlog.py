"""Changes that wait for a watcher, who may be slow. Pure."""

from __future__ import annotations

from collections import deque

from .engine import Changed

MOST = 1024
"""As many changes wait for a watcher. Beyond these, only the last one of each key does."""


class Backlog:
    """Changes in their order. It holds at most `MOST`, and one for each key that has changed since."""

    __slots__ = ("_first", "_rest")

    def __init__(self) -> None:
        self._first: deque[Changed] = deque()
        self._rest: dict[str, Changed] = {}

    def __bool__(self) -> bool:
        return bool(self._first or self._rest)

    def put(self, change: Changed) -> None:
        """Adds the latest change."""
        if not self._rest and len(self._first) < MOST:
            self._first.append(change)
        else:
            self._rest.pop(change.key, None)  # it comes last now
            self._rest[change.key] = change

    def take(self) -> Changed:
        """Removes the oldest change and returns it.

        Raises:
            IndexError: There is none.
        """
        if self._first:
            return self._first.popleft()
        if not self._rest:
            raise IndexError("there is no change")
        return self._rest.pop(next(iter(self._rest)))
