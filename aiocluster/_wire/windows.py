"""Flow control for the messages from one process to one other: batches, fragments, windows and acknowledgements.

::

    sender                               primary                            receiver
    SendWindow ──[MESSAGES, to, n, …]──▶ router ──[MESSAGES, from, n, …]──▶ ReceiveWindow ─▶ handlers
       ▲                                                                       │
       └──[ACK, from, frames, b""]◀───── router ◀──────────────────────────────┘

The messages of one iteration of the event loop leave as one batch, in one frame. Once `WINDOW` bytes to a receiver are
unacknowledged, ``send`` waits, for this receiver only. The sender keeps packed messages until they are acknowledged: if
the receiver disconnects first, they are returned. A large message is sent in fragments, so that it neither fills the
primary's memory nor delays small messages to other receivers.

Requests and replies are a separate flow. If they shared the messages' window, a receiver that takes no messages until
its request is answered would wait forever: the reply would wait behind those messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from .._events.emitter import LetGo
from ..errors import ChannelClosedError, ProtocolError
from . import frames as kinds
from .channel import Delayed
from .codec import MAX_MESSAGE, encode_flow, pack, pack_exact, split_batch, within_limit

logger = logging.getLogger("aiocluster.messages")

WINDOW = 512 * 1024
"""The most unacknowledged bytes from one sender to one receiver. With n workers, the primary buffers at most n windows
for a receiver that has stopped reading."""

FRAGMENT = 32 * 1024
"""The most bytes in a fragment, and in a message that joins a batch."""

UNIT = 7
"""A batch has room for so many units of ``1 << UNIT`` bytes. Each message takes the units that it begins: small ints,
which cost no memory, where bytes would be ints that are made and freed again for each message."""

_BATCH = (FRAGMENT >> UNIT) + 1  # units: one message of `FRAGMENT` bytes, or 257 small ones

PATIENCE = 30.0
"""Seconds that a message to all waits for a receiver that acknowledges nothing. Then that one does not get it."""

_OVERHEAD = 32  # bytes that each message costs besides its own, so that empty messages are limited too
_LONGEST = FRAGMENT + _OVERHEAD  # the cost of the longest frame
DESCRIPTOR = 4 * 1024
"""Bytes that a descriptor costs: the primary may have only a thousand for all receivers."""


class Ancillary(NamedTuple):
    """Descriptors that are sent with a message."""

    descriptors: Sequence[int]
    release: Callable[[], None]
    """Called once they have been sent, or never will be."""
    lost: Callable[[], None]
    """Called if the message is sent without them, because too many are in flight."""


class Lane(NamedTuple):
    """One of the flows between two processes: its windows, and the kinds of its frames.

    Attributes:
        window: The most unacknowledged bytes, at the sender.
        most: The same at the receiver: with more, the sender breaks its window.
        batch: The kind of its batches of messages; for requests, which have none, that of a request.
        fragment: The kind of its fragments.
        discard: The kind of the frame that discards them.
        ack: The kind of its acknowledgements.
    """

    window: int
    most: int
    batch: int
    fragment: int
    discard: int
    ack: int


MESSAGES = Lane(WINDOW, 2 * WINDOW, kinds.MESSAGES, kinds.FRAGMENT, kinds.DISCARD, kinds.ACK)
REQUESTS = Lane(
    WINDOW // 4, WINDOW // 2, kinds.REQUEST, kinds.REQUEST_FRAGMENT, kinds.REQUEST_DISCARD, kinds.REQUEST_ACK
)


class Outlet(Protocol):
    """What carries the frames of a flow: a `Channel`, or within the primary a `Loopback`."""

    hears_one: bool
    is_closed: bool
    is_looked_after: bool
    loop: asyncio.AbstractEventLoop | None

    def send(
        self,
        frame: bytes | Delayed,
        descriptors: Sequence[int] = (),
        release: Callable[[], None] | None = None,
        otherwise: Callable[[], bytes] | None = None,
    ) -> None:
        """See `Channel.send`."""
        ...

    def send_alone(self, frame: bytes) -> None:
        """See `Channel.send_alone`."""
        ...

    def flush(self) -> None:
        """See `Channel.flush`."""
        ...

    def look_after(self) -> None:
        """See `Channel.look_after`."""
        ...

    def later(self, callback: Callable[[], None]) -> None:
        """See `Channel.later`."""
        ...

    def hurry(self) -> None:
        """See `Channel.hurry`."""
        ...


class _Frame:
    """A frame in flight. Its messages are returned if it is never acknowledged."""

    __slots__ = ("bodies", "cost")

    cost: int
    bodies: list[bytes]

    def __init__(self, cost: int, bodies: list[bytes]) -> None:
        self.cost = cost
        self.bodies = bodies

    def acked(self) -> bool:
        """A frame of it has been acknowledged. Returns whether that was the last one."""
        return True

    def unacked(self) -> list[bytes]:
        """The messages that are not acknowledged."""
        return self.bodies


class _Batch(_Frame):
    """The messages of one iteration of the loop, as one frame. Messages can join until it leaves.

    If the loop is blocked, those that have joined leave early, as a frame of their own. The flusher's thread then reads
    `bodies` while the loop may add to it, so it never changes that list.

    Once it has left as a whole, it keeps its messages joined, as the frame has them. So the memory of the single ones
    is used again while the processor still has it at hand.
    """

    __slots__ = ("_acked", "_early", "_joined", "_sent", "flow")

    cost: int
    bodies: list[bytes]
    flow: SendWindow

    def __init__(self, flow: SendWindow) -> None:
        super().__init__(0, [])
        self.flow = flow
        self._joined = b""  # all messages, once none can join any more
        self._sent = 0  # how many messages have left early
        self._acked = 0  # how many of these are acknowledged
        self._early: deque[int] | None = None  # `_sent` after each frame that left early and is not acknowledged

    @property
    def is_open(self) -> bool:
        return self.flow.batch is self

    def end(self) -> int:
        """No message can join any more. Returns the cost in bytes."""
        self._joined = b"".join(self.bodies)
        self.cost = len(self._joined) + len(self.bodies) * _OVERHEAD
        return self.cost

    def render(self) -> bytes:
        if self.flow.batch is self:
            self.flow.end_batch()
        if self._sent:
            bodies = self.bodies[self._sent :]
            return encode_flow(self.flow.batch_kind, self.flow.peer, len(bodies), b"".join(bodies))
        frame = encode_flow(self.flow.batch_kind, self.flow.peer, len(self.bodies), self._joined)
        self.bodies = []
        return frame

    def render_early(self) -> bytes:
        bodies = self.bodies[self._sent :]
        if not bodies:
            return b""
        self._sent += len(bodies)
        if self._early is None:
            self._early = deque()
        self._early.append(self._sent)
        return encode_flow(self.flow.batch_kind, self.flow.peer, len(bodies), b"".join(bodies))

    def acked(self) -> bool:
        if not self._early:
            return True
        self._acked = self._early.popleft()
        return False

    def unacked(self) -> list[bytes]:
        bodies = self.bodies  # the flusher's thread may be about to replace it
        return bodies[self._acked :] if bodies else split_batch(self._joined)


class _Queue:
    """The senders that wait for room, in order. Each event loop has its own queue, as a lock belongs to one loop."""

    __slots__ = ("lock", "loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.lock = asyncio.Lock()
        self.waiting = 0


_NOBODY = _Queue(None)
"""The queue of each window for which nobody has ever waited: there may be thousands. It belongs to no loop, so nobody
joins it."""


class SendWindow:
    """One flow from this process to one other: sends frames, and limits those that are not acknowledged.

    Args:
        channel: The channel that carries the frames.
        peer: The pid in its frames: in a worker the receiver's, in the primary the primary's own.
        label: What error texts call the receiver.
        lane: Which of the flows to the receiver this is.

    Attributes:
        left: The units that the current batch has room for; 0 if there is none.
        bodies: The packed messages of the current batch.
        batch_kind: The kind of its batches.
        batch: The current batch, which messages can still join; None if there is none.
        is_closed: Whether the receiver is gone.
    """

    def __init__(self, channel: Outlet, peer: int, label: str, lane: Lane = MESSAGES) -> None:
        self._channel = channel
        self._lane = lane
        self._window = lane.window  # bytes
        self.batch_kind: int = lane.batch
        self.peer = peer
        self._label = label
        self.batch: _Batch | None = None
        self.left: int = 0
        self.bodies: list[bytes] = []
        self._under_way: deque[_Frame | int] = deque()  # an int is the cost of a frame that nothing is returned of
        self._cost = 0  # of the frames in flight, without the batch
        self._acked = 0
        self._queue = _NOBODY
        self._room: asyncio.Future[None] | None = None
        self._is_deaf = False  # it has had a message dropped for it, and has acknowledged nothing since
        self.is_closed: bool = False

    def put(self, body: bytes) -> bool:
        """Queues a packed message. False if there is no room, or if it is too long for a batch: then use `send`."""
        left = self.left - (len(body) >> UNIT) - 1
        if left < 0:
            return self.put_into_new_batch(body)
        self.left = left
        self.bodies.append(body)
        return True

    def put_message(self, message: Any) -> Awaitable[None] | None:
        """Packs and queues a message if there is room; else returns an awaitable that sends it. See `Worker.send_to`.

        This is `put` and `pack` in one call: messages are sent more often than anything else is done. `Peer.send` does
        the same without this call.
        """
        try:
            body: bytes = pack_exact(message)
        except Exception:
            body = pack(message)
        left = self.left - (len(body) >> UNIT) - 1
        if left < 0:
            return None if self.put_into_new_batch(body) else self.send(within_limit(body))
        self.left = left
        self.bodies.append(body)
        return None

    def put_into_new_batch(self, body: bytes) -> bool:
        """Like `put`, for a message for which the current batch has no room."""
        was_full = self.batch is not None
        self.end_batch()
        if len(body) > FRAGMENT or not self._is_free():
            return False
        if was_full:
            self._channel.flush()  # the receiver can begin while this process makes more
        batch = self.batch = _Batch(self)
        channel = self._channel
        channel.send(batch)
        if not channel.is_looked_after:
            channel.look_after()
        self._under_way.append(batch)
        self.bodies = batch.bodies
        self.left = _BATCH
        return self.put(body)

    def end_batch(self) -> None:
        """Closes the current batch: later messages go into a new one."""
        batch = self.batch
        if batch is not None:
            self.left = 0
            self._cost += batch.end()
            self.batch = None  # not before: then the flusher's thread takes what `end` has joined

    def _is_free(self) -> bool:
        """Whether a frame can be queued at once: no sender waits, the window has room, and the receiver is there."""
        is_over = self.is_closed or self._channel.is_closed
        return self._cost < self._window and not self._queue.waiting and not is_over

    def _is_over(self) -> bool:
        """Whether the receiver is gone. The channel may be closed before `close` is called."""
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
                self._put_frame(self.batch_kind, 1, body, [body])
            else:
                await self._send_in_fragments(self.batch_kind, 1, body, [body])

    async def send_with_patience(self, body: bytes) -> None:
        """Like `send`, but drops the message once the receiver has acknowledged nothing for `PATIENCE` seconds.

        Later ones are dropped at once, until the receiver acknowledges something.
        """
        if self._is_deaf:
            return
        try:
            async with asyncio.timeout(None) as limit:
                watching = asyncio.get_running_loop().create_task(self._watch(limit))
                try:
                    await self.send(body)
                finally:
                    watching.cancel()
        except TimeoutError:
            if not self._is_deaf:
                self._is_deaf = True
                logger.warning(
                    "dropped a message to all for %s, which has acknowledged nothing for %g seconds; later ones are "
                    "dropped too until it does",
                    self._label,
                    PATIENCE,
                )

    async def _watch(self, limit: asyncio.Timeout) -> None:
        """Ends the timeout once the receiver has acknowledged nothing for `PATIENCE` seconds."""
        acked = -1
        while self._acked != acked:
            acked = self._acked
            await asyncio.sleep(PATIENCE)
        limit.reschedule(asyncio.get_running_loop().time())

    def put_frame(
        self,
        kind: int,
        number: int,
        body: bytes,
        ancillary: Ancillary | None = None,
    ) -> bool:
        """Queues a frame of another kind; False if it has to wait, like `put`."""
        if len(body) > FRAGMENT or not self._is_free():
            return False
        self._put_frame(kind, number, body, _returnable(kind, body), ancillary)
        return True

    def put_alone(self, kind: int, number: int, body: bytes) -> bool:
        """Like `put_frame`, for a frame that others will hardly follow at once: it leaves at once. Not of messages."""
        cost = len(body) + _OVERHEAD
        if cost > _LONGEST or not self._is_free():
            return False
        self._channel.send_alone(encode_flow(kind, self.peer, number, body))
        self._under_way.append(cost)
        self._cost += cost
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
            body: The frame's fourth field.
            ancillary: Sent with the frame. It is released even if this raises.

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
                self._put_frame(self._lane.fragment, 0, whole[sent : sent + FRAGMENT], [])
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
        self.end_batch()  # later messages must not leave before this frame
        cost = len(body) + _OVERHEAD
        frame = encode_flow(kind, self.peer, number, body)
        channel = self._channel
        if ancillary is None:
            channel.send(frame)
        else:
            cost += len(ancillary.descriptors) * DESCRIPTOR
            without = partial(self._without, ancillary, kind, number, body)
            channel.send(frame, ancillary.descriptors, ancillary.release, without)
        if not channel.is_looked_after:
            channel.look_after()
        self._under_way.append(_Frame(cost, bodies) if bodies else cost)
        self._cost += cost

    def _without(self, ancillary: Ancillary, kind: int, number: int, body: bytes | memoryview) -> bytes:
        ancillary.lost()
        return encode_flow(kind, self.peer, -number, body)

    def put_control(self, kind: int, number: int) -> None:
        """Queues a frame outside the flow: `kinds.CANCEL` or `kinds.LOST`. Does nothing if the receiver is gone."""
        if not self._is_over():
            self._channel.send(encode_flow(kind, self.peer, number, b""))

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Waits for its turn and for room. No other sender continues until the context is left."""
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
            raise ChannelClosedError(f"{self._label} is gone")

    def acked(self, frames: int) -> None:
        """The receiver has handled so many frames since the flow began."""
        under_way = self._under_way
        while self._acked < frames and under_way:
            self._acked += 1
            first = under_way[0]
            if isinstance(first, int):
                self._cost -= first
                under_way.popleft()
            elif first.acked():
                self._cost -= first.cost
                under_way.popleft()
        self._is_deaf = False
        if self._acked != frames:
            raise ProtocolError(f"{frames} frames acknowledged, of {self._acked} sent")
        if self._room is not None and self._cost < self._lane.window and not self._room.done():
            self._room.set_result(None)

    def close(self) -> list[bytes]:
        """The receiver is gone: wakes waiting senders, and returns the packed messages it did not acknowledge."""
        self.is_closed = True
        self.end_batch()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        returned = [body for frame in self._under_way if isinstance(frame, _Frame) for body in frame.unacked()]
        self._under_way.clear()
        return returned


def _returnable(kind: int, body: bytes) -> list[bytes]:
    """The messages of a frame that are returned if it is not acknowledged. Requests and replies are not returned."""
    return [body] if kind == kinds.HANDLES else []


async def send_to_all(flows: Iterable[SendWindow], body: bytes) -> None:
    """Sends a packed message to each of these. A receiver without room does not delay the others.

    One that has no room and acknowledges nothing for `PATIENCE` seconds does not get it.
    """
    waiting = []
    for flow in flows:
        if not flow.put(body):
            waiting.append(flow.send_with_patience(body))
    if waiting:
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, ChannelClosedError):
                raise result


class ReceiveWindow:
    """One flow from one other process to this one: joins fragments, and acknowledges frames that were handled.

    Args:
        channel: The channel that carries the acknowledgements.
        peer: The pid in them.
        lane: Which of the flows from the sender this is.
    """

    def __init__(self, channel: Outlet, peer: int, lane: Lane = MESSAGES) -> None:
        self._channel = channel
        self._peer = peer
        self._lane = lane
        self._most = lane.most  # bytes
        self._early = lane.window // 4  # bytes
        self._of_fragments = (lane.fragment, lane.discard)
        self._received = 0
        self._acked = 0
        self._is_due = False
        self._unacked = 0  # bytes received since the last acknowledgement that was sent early
        self._costs: list[int] = []  # of the frames that are not acknowledged
        self._cost = 0  # of all these
        self._fragments: list[bytes] = []
        self._held: dict[int, int] = {}  # frame → how many of its messages are still in a queue
        self._is_hurried = False
        self._is_closed = False

    def accept(self, kind: int, body: bytes, descriptors: int = 0) -> bytes | None:
        """Counts a frame and its descriptors. Returns the whole body, or None if fragments of it are still missing.

        Raises:
            ProtocolError: The fragments are longer than a message may be, or the sender does not keep to the window.
        """
        self._received += 1
        cost = len(body) + _OVERHEAD + descriptors * DESCRIPTOR
        self._costs.append(cost)
        self._cost += cost
        if self._cost > self._most:
            raise ProtocolError(f"{self._cost} bytes are not acknowledged: more than the window allows")
        # Acknowledge in a later iteration: async handlers have started by then, so the messages are being handled. Do
        # not acknowledge each frame of a slow conversation: that would wake the other side twice for each message.
        if not self._is_due:
            self._ack_later()
        self._unacked += cost
        if self._unacked > self._early:
            self._unacked = 0
            self._channel.hurry()
        return self._joined(kind, body) if self._fragments or kind in self._of_fragments else body

    def _joined(self, kind: int, body: bytes) -> bytes | None:
        if kind == self._lane.fragment:
            self._fragments.append(body)
            if len(body) > FRAGMENT or len(self._fragments) * FRAGMENT > MAX_MESSAGE + FRAGMENT:
                raise ProtocolError("a message in fragments is over the limit")
            return None
        fragments, self._fragments = self._fragments, []
        if kind == self._lane.discard:
            return None
        fragments.append(body)
        return b"".join(fragments)

    @property
    def frame(self) -> int:
        """The number of the frame that has arrived last."""
        return self._received

    def hold(self, frame: int = 0) -> LetGo:
        """Delays the acknowledgement of a frame, and of later ones, until the returned function has been called.

        Args:
            frame: Its number; an earlier frame must still be held. 0: the frame that has arrived last.
        """
        frame = frame or self._received
        self._held[frame] = self._held.get(frame, 0) + 1
        return partial(self._let_go, frame)

    def _let_go(self, frame: int) -> None:
        if frame not in self._held:
            return  # it has been acknowledged by `confirm`
        self._held[frame] -= 1
        if not self._held[frame]:
            del self._held[frame]
            self._ack_later()
            if self._cost > self._early and not self._is_hurried:
                self._is_hurried = True
                self._channel.hurry()

    def confirm(self) -> None:
        """Acknowledges all that has arrived, even what is held: the channel is closed, and this process goes on."""
        self._held.clear()
        self._ack()

    def close(self) -> None:
        """The flow is over for this side: nothing of it is acknowledged any more."""
        self._is_closed = True
        self._fragments.clear()

    def _ack_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._channel.later(self._ack)

    def _ack(self) -> None:
        self._is_due = self._is_hurried = False
        if self._is_closed:
            return
        handled = next(iter(self._held)) - 1 if self._held else self._received
        if handled > self._acked and not self._channel.is_closed:
            costs, count = self._costs, handled - self._acked
            self._cost -= sum(costs[:count])
            del costs[:count]
            self._acked = handled
            self._channel.send(encode_flow(self._lane.ack, self._peer, handled, b""))
