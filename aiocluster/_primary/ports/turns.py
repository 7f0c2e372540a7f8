"""Whose turn it is to bind a Unix path.

Workers bind such paths by themselves. Two at once would harm each other: a socket that does not listen yet looks stale.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_TURN = 5.0
"""Seconds until a worker that has neither bound the path nor said that it does not loses its turn: it is stopped."""


@dataclass(eq=False, slots=True)
class Turn:
    """One worker's turn to bind one path.

    Attributes:
        path: The path.
        begin: Called when the turn comes.
        state: ``waiting``, ``now`` or ``over``.
    """

    path: bytes
    begin: Callable[[], None]
    state: str = "waiting"


class Turns:
    """The turns of all paths. Those of one path come one after the other."""

    def __init__(self) -> None:
        self._queues: dict[bytes, deque[Turn]] = {}
        self._timers: dict[bytes, asyncio.TimerHandle] = {}

    def add(self, turn: Turn) -> None:
        """The turn comes after all others of its path; at once if there are none."""
        turn.state = "waiting"
        queue = self._queues.setdefault(turn.path, deque())
        queue.append(turn)
        if len(queue) == 1:
            self._begin(turn)

    def end(self, turn: Turn) -> None:
        """The turn is over, or is not wanted any more. Idempotent."""
        if turn.state == "over":
            return
        had_come, turn.state = turn.state == "now", "over"
        queue = self._queues[turn.path]
        queue.remove(turn)
        if had_come:
            self._timers.pop(turn.path).cancel()
        if not queue:
            del self._queues[turn.path]
        elif had_come:
            self._begin(queue[0])

    def _begin(self, turn: Turn) -> None:
        turn.state = "now"
        self._timers[turn.path] = asyncio.get_running_loop().call_later(_TURN, self.end, turn)
        turn.begin()
