"""Pure: numbered batches between two clusters of a fleet.

Redis's channels lose what is published while the receiver's connection is broken. So batches are numbered, kept until
the other cluster has acknowledged them, and published again if they may be lost. What arrives twice is dropped. So
nothing is lost or doubled as long as both clusters stay in the fleet.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .._wire.windows import REQUESTS
from .._wire.windows import WINDOW as MESSAGES
from ..errors import ProtocolError
from .letters import Batch, FlowFields

WINDOW = 1024 * 1024
"""The most bytes that are published to one cluster and not acknowledged: Redis keeps them while that one is slow. By
default, Redis drops a subscriber for which it has 8 MiB for a minute, or 32 MiB."""

BATCH = 64 * 1024
"""A batch has one frame more than fit in so many bytes. The longest frames have half of it."""

MOST = 2 * (MESSAGES + REQUESTS.window)
"""The most bytes that may wait from one process to one other. Both windows full are half of that."""

_OVERHEAD = 32  # bytes that a frame costs besides its own


class Link:
    """One cluster's end of what it and one other tell each other.

    Args:
        host: This cluster.
        epoch: Its epoch.
        to_epoch: The other's.
    """

    def __init__(self, host: str, epoch: int, to_epoch: int) -> None:
        self._head = (host, epoch, to_epoch)
        self._queue: deque[tuple[list[Any], int, tuple[int, int] | None]] = deque()
        self._waiting: dict[tuple[int, int], int] = {}  # bytes of these, by sender and receiver
        self._unacked: deque[tuple[bytes, int, float]] = deque()  # published: the batch, its cost, and when
        self._cost = 0  # of these
        self._sent = 0
        self._is_again = False  # all these are to be published again
        self._received = 0
        self._owed = 0  # bytes that have arrived since the last acknowledgement
        self._owes = False
        self._wants = False
        self._has_wanted = False  # since the last batch that could be used

    @property
    def has_more(self) -> bool:
        """Whether frames wait until earlier ones have been acknowledged."""
        return bool(self._queue)

    @property
    def owes_ack(self) -> bool:
        """Whether something is to be acknowledged, if no batch does it soon."""
        return self._owes

    def put(self, frame: list[Any]) -> None:
        """Queues a short frame."""
        self._queue.append((frame, _OVERHEAD, None))

    def put_flow(self, frame: FlowFields) -> None:
        """Queues a frame between two processes.

        Raises:
            ProtocolError: More waits from that sender to that receiver than their windows allow.
        """
        _, sender, receiver, _, body = frame
        pair, cost = (sender, receiver), len(body) + _OVERHEAD
        waiting = self._waiting.get(pair, 0) + cost
        if waiting > MOST:
            raise ProtocolError(f"{waiting} bytes wait for pid {receiver} of another cluster: the windows allow less")
        self._waiting[pair] = waiting
        self._queue.append((list(frame), cost, pair))

    def _next(self) -> tuple[list[Any], int]:
        frame, cost, pair = self._queue.popleft()
        if pair is not None:
            left = self._waiting.pop(pair) - cost
            if left:
                self._waiting[pair] = left
        return frame, cost

    def due(self, now: float, *, acks: bool = False) -> list[bytes]:
        """The batches that are to be published now, in order.

        Args:
            now: The time, in seconds.
            acks: Whether to acknowledge what has arrived even if there is no batch.
        """
        batches: list[bytes] = []
        if self._is_again:
            self._is_again = False
            self._unacked = deque((batch, cost, now) for batch, cost, _ in self._unacked)
            batches.extend(batch for batch, _, _ in self._unacked)
        while self._queue and self._cost < WINDOW:
            frames, size = [], 0
            while self._queue and size < BATCH:
                frame, cost = self._next()
                frames.append(frame)
                size += cost
            self._sent += 1
            batch = self._letter(self._sent, frames)
            self._unacked.append((batch, size, now))
            self._cost += size
            batches.append(batch)
        if self._wants or (self._owes and (acks or self._owed > WINDOW // 4)):
            batches.append(self._letter(0, []))
        return batches

    def _letter(self, number: int, frames: list[Any]) -> bytes:
        letter = Batch(*self._head, number, self._received, self._wants, frames)
        self._owes = self._wants = False
        self._owed = 0
        return letter.encode()

    def receive(self, batch: Batch) -> list[Any]:
        """A batch has arrived. Returns its frames if it is the next one.

        Raises:
            ProtocolError: It acknowledges what was not sent.
        """
        first = self._sent - len(self._unacked) + 1
        if batch.ack > self._sent or batch.ack < 0:
            raise ProtocolError(f"{batch.ack} batches acknowledged, of {self._sent} sent")
        for _ in range(batch.ack - first + 1):
            self._cost -= self._unacked.popleft()[1]
        if batch.wants:
            self._is_again = True
        if batch.number == 0:
            return []
        self._owes = True
        if batch.number == self._received + 1:
            self._received += 1
            self._owed += sum(map(_size, batch.frames))
            self._has_wanted = False
            return batch.frames
        if batch.number > self._received and not self._has_wanted:
            self._wants = self._has_wanted = True
        return []

    def again(self) -> None:
        """What is not acknowledged may be lost, in both directions."""
        self._is_again = self._wants = True

    def tick(self, before: float) -> None:
        """Publishes again what was published before this time and is not acknowledged."""
        self._has_wanted = False
        if self._unacked and self._unacked[0][2] < before:
            self._is_again = True


def _size(frame: Any) -> int:
    """About how long a frame is that has arrived and is not checked yet."""
    body = frame[-1] if type(frame) is list and frame else b""
    return len(body) + _OVERHEAD if type(body) is bytes else _OVERHEAD
