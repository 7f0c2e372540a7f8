"""Bounds what waits in the primary for workers that do not read: a worker that breaks its windows is found out here.

The windows (`windows`) are kept by the senders, which are workers. While a worker's socket has room, the primary passes
frames on at once and keeps nothing. Only while it has none are the senders' frames counted: by their cost when they are
queued, until they leave.
"""

from __future__ import annotations

from threading import Lock

from .._wire.windows import REQUESTS, WINDOW
from ..errors import ProtocolError

MOST = 2 * (WINDOW + REQUESTS.window)
"""The most bytes that frames from one worker to one other may have waiting. Both windows full are half of that."""


class Arrears:
    """What waits, by sender and receiver."""

    def __init__(self) -> None:
        self._costs: dict[tuple[int, int], int] = {}
        self._lock = Lock()  # frames leave in the flusher's thread too

    def add(self, sender: int, receiver: int, cost: int) -> None:
        """Counts a frame that is about to be queued.

        Raises:
            ProtocolError: The sender has sent more than its windows allow.
        """
        with self._lock:
            waiting = self._costs.get((sender, receiver), 0) + cost
            if waiting <= MOST:
                self._costs[sender, receiver] = waiting
                return
        raise ProtocolError(f"{waiting} bytes wait for pid {receiver}: more than the windows allow")

    def remove(self, sender: int, receiver: int, cost: int) -> None:
        """The frame has left, or never will."""
        with self._lock:
            left = self._costs.pop((sender, receiver), 0) - cost
            if left > 0:
                self._costs[sender, receiver] = left

    def forget(self, pid: int) -> None:
        """That worker is gone, and with it what waited for it."""
        with self._lock:
            self._costs = {pair: cost for pair, cost in self._costs.items() if pid not in pair}


class Waiting:
    """A frame in the outbox of a worker whose socket is full; it is no longer counted when it leaves."""

    __slots__ = ("_arrears", "_frame", "_receiver", "_sender")

    is_open = False

    def __init__(self, arrears: Arrears, sender: int, receiver: int, frame: bytes) -> None:
        arrears.add(sender, receiver, len(frame))
        self._arrears = arrears
        self._sender = sender
        self._receiver = receiver
        self._frame = frame

    def render(self) -> bytes:
        self._arrears.remove(self._sender, self._receiver, len(self._frame))
        return self._frame

    def render_early(self) -> bytes:
        raise AssertionError("nothing is added to it")
