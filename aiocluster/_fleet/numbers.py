"""The processes of other clusters, as workers of this one know them: by numbers in place of pids."""

from __future__ import annotations

from collections.abc import Callable

from .._primary.router import Router
from .._primary.topics import Board
from .letters import FlowFields


class Numbers:
    """Hears from the roster, and tells the router.

    Args:
        router: This cluster's workers.
        board: This cluster's topics.
        gone: Called with the number of a process that has gone.
    """

    def __init__(self, router: Router, board: Board, gone: Callable[[int], None]) -> None:
        self._gone = gone
        self._router = router
        self._board = board
        self._numbers: dict[tuple[str, int], int] = {}

    def joined(self, host: str, pid: int, is_worker: bool) -> None:
        """A process of another cluster is there."""
        self._numbers[host, pid] = self._router.remote_joined(host, pid, is_worker)

    def left(self, host: str, pid: int) -> None:
        """It has gone, or is out of touch."""
        number = self._numbers.pop((host, pid))
        self._gone(number)
        self._router.remote_left(number)

    def host_left(self, host: str) -> None:
        """Another cluster has gone, or is out of touch."""
        self._board.host_left(host)

    def flow(self, host: str, frame: FlowFields) -> None:
        """It has sent a frame."""
        kind, sender, receiver, number, body = frame
        self._router.route_in(self._numbers[host, sender], receiver, kind, number, body)
