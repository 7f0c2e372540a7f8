"""Users' messages from one process to one other: joined, bounded, and confirmed.

::

    sender                          primary                       receiver
    SendWindow ──[MESSAGES, to, n, …]──▶ router ──[MESSAGES, from, n, …]──▶ ReceiveWindow ─▶ handlers
       ▲                                                                    │
       └──────────[ACK, from, frames, b""]◀── router ◀──────────────────┘

The messages of one turn of the loop leave as one frame. A sender has at most `WINDOW` bytes under way to a receiver
that has not confirmed them; then ``send`` waits, for this receiver only. Packed messages stay in the sender's memory
until they are confirmed: if the receiver goes, they come back. A large message goes in parts, so that neither the
primary's memory nor another receiver's small messages suffer from it.

Requests and their answers are a flow of their own: a receiver that takes no more messages before its request has been
answered would else wait for an answer that waits behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from ..errors import ChannelClosedError, ProtocolError
from . import frames as kinds
from .channel import Channel
from .codec import MAX_MESSAGE, encode

WINDOW = 512 * 1024
"""The most bytes one sender has under way to one receiver. With n workers, the primary holds at most n windows for a
receiver that has stopped reading."""

FRAGMENT = 32 * 1024
"""How long a frame of messages or a part grows, in bytes."""

_OVERHEAD = 32  # what a message costs beside its bytes, so that empty ones are bounded too
_DESCRIPTOR = 4 * 1024  # what a descriptor costs: the primary may have but a thousand for all its receivers


class Ancillary(NamedTuple):
    """Descriptors that go along with a message."""

    descriptors: Sequence[int]
    release: Callable[[], None]
    """Called once they have left, or never will."""
    lost: Callable[[], None]
    """Called when the message leaves without them, because too many are in flight."""


class Lane(NamedTuple):
    """One of the flows between two processes: its window in bytes, and the kinds of its own frames."""

    window: int
    part: int
    discard: int
    confirm: int


MESSAGES = Lane(WINDOW, kinds.FRAGMENT, kinds.DISCARD, kinds.ACK)
REQUESTS = Lane(WINDOW // 4, kinds.REQUEST_FRAGMENT, kinds.REQUEST_DISCARD, kinds.REQUEST_ACK)


class _Frame:
    """A frame under way: what it holds is given back if it is never confirmed."""

    __slots__ = ("bodies", "cost")

    def __init__(self, cost: int, bodies: list[bytes]) -> None:
        self.cost = cost
        self.bodies = bodies


class _Batch(_Frame):
    """The messages of one turn, as one frame: it takes more of them until it leaves."""

    __slots__ = ("flow",)

    def __init__(self, flow: SendWindow) -> None:
        super().__init__(0, [])
        self.flow = flow

    def render(self) -> bytes:
        if self.flow._run is self:
            self.flow.end_batch()
        return encode(kinds.MESSAGES, self.flow.peer, len(self.bodies), b"".join(self.bodies))


class _Queue:
    """Those who wait for room, in the order they came. A loop has its own, for a lock can't go on to the next one."""

    __slots__ = ("lock", "loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.lock = asyncio.Lock()
        self.waiting = 0


class SendWindow:
    """What this process sends to one other.

    Args:
        channel: The channel it leaves by.
        peer: The pid that its frames name: the receiver's in a worker, the primary's own in the primary.
        whom: How errors call the receiver.
        lane: Which of the flows to it this is.
    """

    def __init__(self, channel: Channel, peer: int, whom: str, lane: Lane = MESSAGES) -> None:
        self._channel = channel
        self._lane = lane
        self.peer = peer
        self._whom = whom
        self._run: _Batch | None = None
        self._left = 0  # what the run has room for
        self._append: Callable[[bytes], None] = _no_batch
        self._under_way: deque[_Frame] = deque()
        self._cost = 0  # of what is under way, but for the run
        self._acked = 0
        self._queue = _Queue(None)
        self._room: asyncio.Future[None] | None = None
        self.is_closed: bool = False

    def put(self, body: bytes) -> bool:
        """Queues a packed message; False if it has to be waited for, or is too long to share a frame: see `send`."""
        left = self._left - len(body) - _OVERHEAD
        if left < 0:
            return self._put_into_new_batch(body)
        self._left = left
        self._append(body)
        return True

    def _put_into_new_batch(self, body: bytes) -> bool:
        was_full = self._run is not None
        self.end_batch()
        if len(body) > FRAGMENT or not self._is_free():
            return False
        if was_full:
            self._channel.flush()  # the receiver may begin while more is being made
        run = self._run = _Batch(self)
        self._channel.send(run)
        self._under_way.append(run)
        self._append = run.bodies.append
        self._left = FRAGMENT + _OVERHEAD
        return self.put(body)

    def end_batch(self) -> None:
        """Lets no more messages join the frame that is being filled."""
        run = self._run
        if run is not None:
            run.cost = FRAGMENT + _OVERHEAD - self._left
            self._cost += run.cost
            self._run = None
            self._left = 0
            self._append = _no_batch

    def _is_free(self) -> bool:
        """Whether a frame may leave at once: nobody waits, there is room, and the receiver is there."""
        return self._cost < self._lane.window and not self._queue.waiting and not self._is_over()

    def _is_over(self) -> bool:
        """Whether the receiver is gone: the channel's end comes before what is said of it."""
        return self.is_closed or self._channel.is_closed

    async def send(self, body: bytes) -> None:
        """Sends a packed message of any size; waits while the window is full.

        Raises:
            ChannelClosedError: The receiver is gone.
        """
        if self.put(body):
            return
        async with self._turn():
            if len(body) <= FRAGMENT:
                self._put_frame(kinds.MESSAGES, 1, body, [body])
            else:
                await self._send_in_fragments(kinds.MESSAGES, 1, body, [body])

    def put_frame(
        self,
        kind: int,
        number: int,
        body: bytes,
        ancillary: Ancillary | None = None,
    ) -> bool:
        """Queues a frame of another kind, as `put` does a message."""
        if len(body) > FRAGMENT or not self._is_free():
            return False
        self._put_frame(kind, number, body, _returnable(kind, body), ancillary)
        return True

    async def send_frame(
        self,
        kind: int,
        number: int,
        body: bytes,
        ancillary: Ancillary | None = None,
    ) -> None:
        """Sends a frame of another kind, in order with the messages; waits while the window is full.

        Args:
            kind: One of `kinds.FLOW`.
            number: The frame's third field.
            body: Its fourth.
            ancillary: Goes along; it is released also when this raises.

        Raises:
            ChannelClosedError: The receiver is gone.
        """
        try:
            if self.put_frame(kind, number, body, ancillary):
                return
            async with self._turn():
                if len(body) <= FRAGMENT:
                    self._put_frame(kind, number, body, _returnable(kind, body), ancillary)
                else:
                    await self._send_in_fragments(kind, number, body, _returnable(kind, body), ancillary)
        except BaseException:
            if ancillary is not None:
                ancillary.release()
            raise

    async def _send_in_fragments(
        self,
        kind: int,
        number: int,
        body: bytes,
        bodies: list[bytes],
        ancillary: Ancillary | None = None,
    ) -> None:
        whole = memoryview(body)
        last = (len(body) - 1) // FRAGMENT * FRAGMENT
        sent = 0
        try:
            while sent < last:
                await self._wait_for_room()
                self._put_frame(self._lane.part, 0, whole[sent : sent + FRAGMENT], [])
                sent += FRAGMENT
            await self._wait_for_room()
        except asyncio.CancelledError:
            if sent and not self._is_over():
                self._put_frame(self._lane.discard, 0, b"", [])
            raise
        self._put_frame(kind, number, whole[sent:], bodies, ancillary)

    def _put_frame(
        self,
        kind: int,
        number: int,
        body: bytes | memoryview,
        bodies: list[bytes],
        ancillary: Ancillary | None = None,
    ) -> None:
        self.end_batch()  # later messages must not join an earlier frame
        cost = len(body) + _OVERHEAD
        frame = encode(kind, self.peer, number, body)
        if ancillary is None:
            self._channel.send(frame)
        else:
            cost += len(ancillary.descriptors) * _DESCRIPTOR
            without = partial(self._without, ancillary, kind, number, body)
            self._channel.send(frame, ancillary.descriptors, ancillary.release, without)
        self._under_way.append(_Frame(cost, bodies))
        self._cost += cost

    def _without(self, ancillary: Ancillary, kind: int, number: int, body: bytes | memoryview) -> bytes:
        ancillary.lost()
        return encode(kind, self.peer, -number, body)

    def put_control(self, kind: int, number: int) -> None:
        """Queues a frame that is no part of the flow: `kinds.CANCEL`, `kinds.LOST`. Nothing if the receiver is gone."""
        if not self._is_over():
            self._channel.send(encode(kind, self.peer, number, b""))

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Waits for its turn and for room; until it is left, nobody else sends."""
        self.end_batch()
        loop = asyncio.get_running_loop()
        if self._queue.loop is not loop:
            self._queue = _Queue(loop)
        queue = self._queue
        queue.waiting += 1
        try:
            async with queue.lock:
                await self._wait_for_room()
                yield
        finally:
            queue.waiting -= 1

    async def _wait_for_room(self) -> None:
        while self._cost >= self._lane.window and not self._is_over():
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None
        if self._is_over():
            raise ChannelClosedError(f"{self._whom} is gone")

    def acked(self, frames: int) -> None:
        """So many frames have been handled since the flow began."""
        while self._acked < frames and self._under_way:
            self._acked += 1
            self._cost -= self._under_way.popleft().cost
        if self._acked != frames:
            raise ProtocolError(f"{frames} frames confirmed, of {self._acked} sent")
        if self._room is not None and self._cost < self._lane.window and not self._room.done():
            self._room.set_result(None)

    def close(self) -> list[bytes]:
        """The receiver is gone: wakes those who wait, and returns the packed messages it had not confirmed."""
        self.is_closed = True
        self.end_batch()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        returned = [body for frame in self._under_way for body in frame.bodies]
        self._under_way.clear()
        return returned


def _returnable(kind: int, body: bytes) -> list[bytes]:
    """What of a frame comes back if it is not confirmed; who waits for a reply is told in another way."""
    return [body] if kind == kinds.HANDLES else []


def _no_batch(body: bytes) -> None:
    raise AssertionError("there is no run to join")


async def send_to_all(flows: Iterable[SendWindow], body: bytes) -> None:
    """Sends a packed message by each of these; a receiver that has to be waited for holds up no other."""
    waiting = []
    for flow in flows:
        if not flow.put(body):
            waiting.append(flow.send(body))
    if waiting:
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, ChannelClosedError):
                raise result


class ReceiveWindow:
    """What this process receives from one other: puts parts together, and says what has been handled.

    Args:
        channel: The channel the confirmations leave by.
        peer: The pid they name.
        lane: Which of the flows from it this is.
    """

    def __init__(self, channel: Channel, peer: int, lane: Lane = MESSAGES) -> None:
        self._channel = channel
        self._peer = peer
        self._lane = lane
        self._received = 0
        self._told = 0
        self._is_due = False
        self._unsaid = 0  # bytes received since the last confirmation was hurried
        self._parts: list[bytes] = []
        self._held: dict[int, int] = {}  # frame → how many of its messages are still in a queue

    def accept(self, kind: int, body: bytes, descriptors: int = 0) -> bytes | None:
        """Counts a frame, with so many descriptors. Returns its whole body, or None if it is no whole frame yet.

        Raises:
            ProtocolError: Its parts are longer than a message may be.
        """
        self._received += 1
        # In a later turn: async handlers have then begun, so what is confirmed has really been taken up. And not for
        # each frame of a slow conversation: the other side would be woken twice for each message.
        self._ack_later()
        self._unsaid += len(body) + descriptors * _DESCRIPTOR
        if self._unsaid > self._lane.window // 4:
            self._unsaid = 0
            self._channel.hurry()
        if kind == self._lane.part:
            self._parts.append(body)
            if len(body) > FRAGMENT or len(self._parts) * FRAGMENT > MAX_MESSAGE + FRAGMENT:
                raise ProtocolError("a message in parts is over the limit")
            return None
        if not self._parts:
            return None if kind == self._lane.discard else body
        parts, self._parts = self._parts, []
        if kind == self._lane.discard:
            return None
        parts.append(body)
        return b"".join(parts)

    def hold(self) -> Callable[[], None]:
        """Confirms the frame that is being handled only after the returned function has been called."""
        frame = self._received
        self._held[frame] = self._held.get(frame, 0) + 1

        def let_go() -> None:
            self._held[frame] -= 1
            if not self._held[frame]:
                del self._held[frame]
                self._ack_later()

        return let_go

    def _ack_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._channel.later(self._ack)

    def _ack(self) -> None:
        self._is_due = False
        handled = next(iter(self._held)) - 1 if self._held else self._received
        if handled > self._told and not self._channel.is_closed:
            self._told = handled
            self._channel.send(encode(self._lane.confirm, self._peer, handled, b""))
