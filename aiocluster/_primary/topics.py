"""The board: who subscribes to which topic, and how far each subscriber is. It sends frames on without unpacking them.

::

    publisher ──[TOPIC, 3, n, bin]──▶ Flow 71 ──┬─[TOPIC, 71, n, bin]──▶ Reader: a subscriber
              ◀──[TOPIC_ACK, 3, k]── the least ─┼──────────────────────▶ Reader: another one
                                                └─ uplink: to other machines

All subscribers see a flow under the same number, so a frame is encoded once for all of them. A flow is acknowledged to
its publisher as far as its slowest subscriber has acknowledged it. A subscriber that acknowledges nothing for
`PATIENCE` while the publisher waits is left behind: it gets nothing of that flow until it has handled what it was sent,
and is then told how many messages it has missed.

Messages from other machines come without flow control (`Board.publish_remote`). A subscriber that has no room for them
misses them, and is told so too.

The board does no input or output of its own: channels queue what it sends, and it is given a timer.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from .._wire import frames as kinds
from .._wire.codec import MAX_MESSAGE, FlowFields, encode_flow
from .._wire.frame import Route, on
from .._wire.publication import BUDGET, TOPIC_WINDOW
from .._wire.topics import LONGEST_TOPIC, MOST_SUBSCRIBED
from .._wire.windows import FRAGMENT, PATIENCE
from ..errors import ProtocolError

logger = logging.getLogger("aiocluster.topics")

_OVERHEAD = 32  # bytes that a message costs besides its own, as in a window
_MOST_OPEN = 2 * MOST_SUBSCRIBED  # flows of one publisher: it closes those that rest long before
_LOOKS = 6  # within `PATIENCE`, at those that are waited for
_MOST_REMOTE = 4096  # flows of remote senders: with more, those that rest are closed
_REMOTE_WINDOW = 4 * TOPIC_WINDOW
"""Bytes of remote messages that a subscriber may have unacknowledged. A longer message only reaches one without any."""


class Outlet(Protocol):
    """The board's way to a process: its channel."""

    def send(self, frame: bytes) -> None:
        """Queues a frame."""
        ...

    def later(self, callback: Callable[[], None]) -> None:
        """Calls this in a few milliseconds."""
        ...


class Timer(Protocol):
    """What `Schedule` returns."""

    def cancel(self) -> None:
        """The function is not to be called."""
        ...


Schedule = Callable[[float, Callable[[], None]], Timer]


class Uplink(Protocol):
    """What takes published messages to other machines, and hears which topics are wanted here (`Board.uplink`)."""

    def publish(self, topic: str, sender: int, count: int, body: bytes) -> None:
        """Hears of ``count`` whole messages, one after the other in ``body``, of any length. The sender is a pid."""
        ...

    def wanted(self, topic: str, ready: Callable[[], None]) -> None:
        """A topic has its first subscriber here. ``ready`` is to be called once others' messages will arrive.

        Until then those who subscribe wait. It may be called at once, more than once, and after `unwanted`.
        """
        ...

    def unwanted(self, topic: str) -> None:
        """A topic has no subscriber here any more."""
        ...


class _Topic:
    """A topic that somebody publishes or subscribes to."""

    __slots__ = ("flows", "is_ready", "members", "name", "remote", "unanswered")

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[Member, None] = {}  # that subscribe, and have been told so
        self.unanswered: dict[Member, None] = {}  # that wait until the uplink is ready
        self.is_ready = False
        self.flows: dict[_Flow, None] = {}
        self.remote: dict[str, _RemoteFlow] = {}  # by sender

    @property
    def is_wanted(self) -> bool:
        return bool(self.members or self.unanswered)


class Member:
    """A process as the board knows it: a worker, or the primary itself. `Board.join` makes one.

    Args:
        board: The board.
        pid: Its process id.
        label: What the log calls it.
        channel: Leads to it.

    Attributes:
        routes: The frames that it may send, besides those of flows.
    """

    def __init__(self, board: Board, pid: int, label: str, channel: Outlet) -> None:
        self._board = board
        self.pid = pid
        self.label = label
        self.channel = channel
        self._subscribed: set[str] = set()
        self._flows: dict[int, _Flow] = {}  # that it publishes, by its own numbers
        self._readers: dict[int, _Reader | _RemoteReader] = {}  # of flows that it is sent, by the board's numbers
        self._due: dict[_Flow, None] = {}  # whose acknowledgement is sent in a moment
        self._behind: dict[_Reader, tuple[int, int]] = {}  # while it waits; see `_now_behind`
        self._timer: Timer | None = None
        self.cost = 0  # bytes that it has published and that are not acknowledged
        self.remote_cost = 0  # bytes of remote messages that it has not acknowledged
        self.lacking: dict[_RemoteReader, None] = {}  # those that have missed messages and were not told so
        self.routes: tuple[Route, ...] = (
            on(kinds.OpenTopic, self._on_open),
            on(kinds.CloseTopic, self._on_close),
            on(kinds.Subscribe, self._on_subscribe),
            on(kinds.Unsubscribe, self._on_unsubscribe),
        )

    # ---- as a publisher

    def _on_open(self, frame: kinds.OpenTopic) -> None:
        if frame.number in self._flows:
            raise ProtocolError(f"flow {frame.number} is open already")
        if len(self._flows) >= _MOST_OPEN:
            raise ProtocolError(f"{len(self._flows)} flows are open: more can't be")
        flow = self._flows[frame.number] = _Flow(self._board, self, frame.number, _checked(frame.topic))
        self._board._begin(flow)

    def _on_close(self, frame: kinds.CloseTopic) -> None:
        flow = self._flows.pop(frame.number, None)
        if flow is None:
            raise ProtocolError(f"there is no flow {frame.number} to close")
        self._board._end(flow)

    def receive(self, frame: FlowFields) -> None:
        """It has sent a frame of a flow.

        Raises:
            ProtocolError: The frame is invalid, or it has sent more than its windows allow.
        """
        kind, number, count, body = frame
        if kind == kinds.TOPIC_ACK:
            reader = self._readers.get(number)
            if reader is not None:  # else the flow has ended meanwhile
                reader.acked(count)
            return
        flow = self._flows.get(number)
        if flow is None:
            raise ProtocolError(f"there is no flow {number}")
        flow.forward(kind, count, body)

    def _is_full(self) -> bool:
        return self.cost >= BUDGET or any(flow.is_full for flow in self._flows.values())

    def _acknowledge_soon(self, flow: _Flow) -> None:
        if not self._due:
            self.channel.later(self._acknowledge)
        self._due[flow] = None

    def _acknowledge(self) -> None:
        due, self._due = self._due, {}
        for flow in due:
            flow.tell_publisher()

    # ---- while it waits

    def watch(self) -> None:
        """It has used up a window: those that acknowledge nothing from now on are left behind in the end."""
        if self._timer is None:
            self._behind = self._now_behind()
            self._look_later()

    def _look_later(self) -> None:
        self._timer = self._board.schedule(PATIENCE / _LOOKS, self._look)

    def _now_behind(self) -> dict[_Reader, tuple[int, int]]:
        """The readers that have not acknowledged all: where they are, and at how many looks they have been there."""
        before, now = self._behind, {}
        for flow in self._flows.values():
            for reader in flow.behind():
                position, looks = before.get(reader, (-1, 0))
                now[reader] = (reader.position, looks + 1 if position == reader.position else 0)
        return now

    def _look(self) -> None:
        self._timer = None
        self._behind = self._now_behind()
        is_used_up = self.cost >= BUDGET
        for reader, (_, looks) in self._behind.items():
            if looks >= _LOOKS and (is_used_up or reader.flow.is_full):
                reader.flow.leave_behind(reader)
        if self._is_full():
            self._look_later()
        else:
            self._behind = {}

    # ---- as a subscriber

    def _on_subscribe(self, frame: kinds.Subscribe) -> None:
        name = _checked(frame.topic)
        if name in self._subscribed:
            raise ProtocolError(f"it subscribes to {name!r} already")
        if len(self._subscribed) >= MOST_SUBSCRIBED:
            raise ProtocolError(f"it subscribes to {len(self._subscribed)} topics: more can't be")
        self._subscribed.add(name)
        self._board._subscribe(self, name)

    def _on_unsubscribe(self, frame: kinds.Unsubscribe) -> None:
        if frame.topic not in self._subscribed:
            raise ProtocolError(f"it does not subscribe to {frame.topic!r:.100}")
        self._subscribed.discard(frame.topic)
        self._board._unsubscribe(self, frame.topic)

    # ---- the end

    def leave(self) -> None:
        """The process is gone: lets go of all that it publishes and subscribes to."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        flows, self._flows = self._flows, {}
        for flow in flows.values():
            self._board._end(flow)
        subscribed, self._subscribed = self._subscribed, set()
        for name in subscribed:
            self._board._unsubscribe(self, name, is_gone=True)
        self._behind.clear()
        self._due.clear()


class _Flow:
    """What one process publishes to one topic.

    ``acked`` is how many of its frames all readers have acknowledged; ``laggards``, how many readers stand there. So an
    acknowledgement costs the same however many readers there are: all are looked at only when the last laggard goes on.
    """

    __slots__ = (
        "_acked",
        "_board",
        "_costs",
        "_fragments",
        "_joining",
        "_laggards",
        "_left_behind",
        "_readers",
        "_size",
        "_told",
        "cost",
        "count",
        "number",
        "publisher",
        "publishers_number",
        "topic",
    )

    def __init__(self, board: Board, publisher: Member, publishers_number: int, topic: str) -> None:
        self._board = board
        self.publisher = publisher
        self.publishers_number = publishers_number
        self.topic = topic
        self.number = board._new_number()
        self.count = 0  # frames that have come
        self.cost = 0  # bytes, of those that are not acknowledged
        self._costs: list[int] = []  # of these
        self._acked = 0
        self._told = 0  # how many the publisher has been told
        self._laggards = 0
        self._readers: dict[_Reader, None] = {}
        self._left_behind: dict[_Reader, None] = {}
        self._joining: dict[Member, None] = {}  # after the message whose fragments are coming
        self._size = 0  # bytes of these
        self._fragments: list[bytes] = []  # kept for the uplink

    @property
    def is_full(self) -> bool:
        """Whether its publisher must wait."""
        return self.cost >= TOPIC_WINDOW

    def behind(self) -> list[_Reader]:
        """Readers that have not acknowledged all."""
        return [reader for reader in self._readers if reader.position < self.count] if self.cost else []

    # ---- frames

    def forward(self, kind: int, count: int, body: bytes) -> None:
        """A frame has come from the publisher."""
        publisher = self.publisher
        if count < 0:
            raise ProtocolError(f"a frame of {count} messages")
        # As the publisher counts it, or more: what it waits for must look full here too. There are 0 messages in a
        # fragment, and in the frame of a batch of which all had left early.
        cost = len(body) + (count or 1) * _OVERHEAD
        self.count += 1
        self._costs.append(cost)
        self.cost += cost
        publisher.cost += cost
        if self.cost > 2 * TOPIC_WINDOW or publisher.cost > 2 * BUDGET:
            raise ProtocolError(f"{self.cost} bytes of topic {self.topic!r:.100} wait: more than the window allows")
        if kind != kinds.TOPIC:
            self._check(kind, len(body))
        if self._readers:
            frame = encode_flow(kind, self.number, count, body)
            for reader in self._readers:
                reader.channel.send(frame)
            if self.cost >= TOPIC_WINDOW or publisher.cost >= BUDGET:
                publisher.watch()
        else:
            self._settle()
        if self._left_behind and kind == kinds.TOPIC:
            for reader in self._left_behind:
                reader.missed += count
        if self._board.uplink is not None:
            self._pass_up(kind, count, body)
        if kind != kinds.TOPIC_FRAGMENT:
            self._size = 0
            if self._joining or self._left_behind:
                self._at_boundary()

    def _check(self, kind: int, size: int) -> None:
        if kind == kinds.TOPIC_FRAGMENT:
            self._size += max(size, FRAGMENT)
            if size > FRAGMENT or self._size > MAX_MESSAGE + FRAGMENT:
                raise ProtocolError("a message in fragments is over the limit")

    def _pass_up(self, kind: int, count: int, body: bytes) -> None:
        """Gives whole messages to the uplink."""
        if kind == kinds.TOPIC_FRAGMENT:
            self._fragments.append(body)
        elif kind == kinds.TOPIC_DISCARD:
            self._fragments.clear()
        else:
            fragments, self._fragments = self._fragments, []
            if (
                count and len(fragments) * FRAGMENT == self._size
            ):  # else the uplink was connected in the middle of the message
                assert self._board.uplink is not None
                whole = b"".join([*fragments, body]) if fragments else body
                self._board.uplink.publish(self.topic, self.publisher.pid, count, whole)

    def _at_boundary(self) -> None:
        """No message is under way in fragments: those that wait for that begin here."""
        joining, self._joining = self._joining, {}
        for member in joining:
            self._begin(member)
        for reader in [reader for reader in self._left_behind if reader.is_done]:
            self._go_on(reader)

    # ---- readers

    def join(self, member: Member) -> None:
        """A subscriber gets all messages that begin from now on, unless it publishes them itself."""
        if member is self.publisher:
            return
        if self._size:
            self._joining[member] = None
        else:
            self._begin(member)

    def _begin(self, member: Member) -> None:
        reader = member._readers[self.number] = _Reader(self, member)
        member.channel.send(kinds.TopicFlow(self.number, self.topic, self.publisher.pid).encode())
        self._add(reader)

    def _add(self, reader: _Reader) -> None:
        """A reader that has nothing to acknowledge."""
        reader.position = self.count
        self._readers[reader] = None
        if self._acked == self.count:
            self._laggards += 1

    def drop(self, member: Member) -> None:
        """A subscriber no longer subscribes."""
        self._joining.pop(member, None)
        reader = member._readers.pop(self.number, None)
        if isinstance(reader, _Reader):
            self._left_behind.pop(reader, None)
            self._remove(reader)

    def _remove(self, reader: _Reader) -> None:
        if reader in self._readers:
            del self._readers[reader]
            if reader.position == self._acked:
                self._laggards -= 1
                if not self._laggards:
                    self._settle()

    def moved(self, reader: _Reader, position: int) -> None:
        """A reader has acknowledged as many frames as that."""
        before, reader.position = reader.position, position
        if before == self._acked and position > before:
            self._laggards -= 1
            if not self._laggards:
                self._settle()

    def _settle(self) -> None:
        """Nobody stands at the last frame that was acknowledged any more: finds out who is last now."""
        positions = [reader.position for reader in self._readers]
        acked = min(positions, default=self.count)
        self._laggards = positions.count(acked)
        count = acked - self._acked
        cost = sum(self._costs[:count])
        del self._costs[:count]
        self.cost -= cost
        self.publisher.cost -= cost
        self._acked = acked
        if positions:
            self.tell_publisher()
        else:
            self.publisher._acknowledge_soon(self)

    def tell_publisher(self) -> None:
        """Acknowledges to the publisher what has not been yet."""
        if self._acked > self._told:
            self._told = self._acked
            self.publisher.channel.send(encode_flow(kinds.TOPIC_ACK, self.publishers_number, self._acked, b""))

    # ---- those that are left behind

    def leave_behind(self, reader: _Reader) -> None:
        """No longer waits for this reader, if it is not up to date."""
        if reader not in self._readers or reader.position == self.count:
            return
        if not any(other.is_left_behind for other in reader.member._readers.values()):
            logger.warning(
                "%s has acknowledged nothing of topic %r for %g seconds while publishers waited: it misses messages "
                "until it goes on",
                reader.member.label,
                self.topic,
                PATIENCE,
            )
        reader.end = self.count - reader.base
        if self._size:  # it has fragments of a message that it will not get
            reader.channel.send(encode_flow(kinds.TOPIC_DISCARD, self.number, 0, b""))
            reader.end += 1
        reader.is_left_behind = True
        self._left_behind[reader] = None
        self._remove(reader)

    def caught_up(self, reader: _Reader) -> None:
        """A reader that was left behind has acknowledged all that it was sent."""
        reader.is_done = True
        if not self._size:
            self._go_on(reader)

    def _go_on(self, reader: _Reader) -> None:
        del self._left_behind[reader]
        reader.base = self.count - reader.end
        reader.is_left_behind = reader.is_done = False
        reader.tell_missed()
        self._add(reader)

    # ---- the end

    def end(self) -> None:
        """It has ended, or its publisher is gone."""
        frame = kinds.TopicFlowEnded(self.number).encode()
        for reader in (*self._readers, *self._left_behind):
            reader.tell_missed()
            reader.channel.send(frame)
            del reader.member._readers[self.number]
        self._readers.clear()
        self._left_behind.clear()
        self._joining.clear()
        self._fragments.clear()
        self.publisher.cost -= self.cost
        self.publisher._due.pop(self, None)
        self.cost = 0


class _Reader:
    """How far a subscriber is in a flow. ``position`` is the number of the flow's frames that it is done with."""

    __slots__ = ("base", "channel", "end", "flow", "is_done", "is_left_behind", "member", "missed", "position")

    def __init__(self, flow: _Flow, member: Member) -> None:
        self.flow = flow
        self.member = member
        self.channel = member.channel
        self.base = flow.count  # the flow's frames that it was not sent
        self.position = flow.count
        self.is_left_behind = False
        self.end = 0  # if it is left behind: how many frames it was sent
        self.is_done = False  # if it is left behind: whether it has acknowledged these
        self.missed = 0  # messages

    def acked(self, frames: int) -> None:
        """It has handled so many frames of the flow since it began to get them."""
        if not self.is_left_behind:
            position = self.base + frames
            if not self.position <= position <= self.flow.count:
                raise ProtocolError(f"{frames} frames of topic {self.flow.topic!r:.100} acknowledged: impossible")
            self.flow.moved(self, position)
        elif frames > self.end:
            raise ProtocolError(f"{frames} frames of topic {self.flow.topic!r:.100} acknowledged, of {self.end} sent")
        elif frames == self.end and not self.is_done:
            self.flow.caught_up(self)

    def tell_missed(self) -> None:
        """Tells the subscriber how many messages it has missed, if any."""
        missed, self.missed = self.missed, 0
        if missed:
            self.channel.send(kinds.TopicMissed(self.flow.number, missed).encode())


class _RemoteFlow:
    """What a process of another cluster publishes to a topic. Nobody waits for its readers."""

    __slots__ = ("number", "readers", "sender", "topic")

    def __init__(self, number: int, topic: str, sender: str) -> None:
        self.number = number
        self.topic = topic
        self.sender = sender
        self.readers: dict[Member, _RemoteReader] = {}

    def forward(self, members: Collection[Member], frames: list[bytes], cost: int, count: int) -> None:
        """Sends messages, as frames, to those that have room for them."""
        for member in members:
            reader = self.readers.get(member)
            if reader is None:
                reader = self.readers[member] = member._readers[self.number] = _RemoteReader(self, member)
                member.channel.send(kinds.TopicFlow(self.number, self.topic, self.sender).encode())
            reader.forward(frames, cost, count)

    def drop(self, member: Member) -> None:
        """A subscriber no longer subscribes."""
        reader = self.readers.pop(member, None)
        if reader is not None:
            del member._readers[self.number]
            member.remote_cost -= sum(reader.costs)
            member.lacking.pop(reader, None)

    def end(self) -> None:
        """Its sender is gone, or nobody subscribes any more."""
        frame = kinds.TopicFlowEnded(self.number).encode()
        for member, reader in tuple(self.readers.items()):
            reader.tell_missed()
            member.channel.send(frame)
            self.drop(member)


class _RemoteReader:
    """What a subscriber was sent of a remote flow and has not acknowledged."""

    __slots__ = ("_acked", "costs", "flow", "member", "missed")

    is_left_behind = False

    def __init__(self, flow: _RemoteFlow, member: Member) -> None:
        self.flow = flow
        self.member = member
        self.costs: deque[int] = deque()
        self._acked = 0
        self.missed = 0

    def forward(self, frames: list[bytes], cost: int, count: int) -> None:
        """Sends the frames, if there is room."""
        member = self.member
        if member.remote_cost and member.remote_cost + cost > _REMOTE_WINDOW:
            self.missed += count
            member.lacking[self] = None
            return
        self.tell_missed()
        for frame in frames:
            self.costs.append(len(frame))
            member.channel.send(frame)
        member.remote_cost += cost

    def acked(self, frames: int) -> None:
        """It has handled so many frames of the flow."""
        if not self._acked <= frames <= self._acked + len(self.costs):
            raise ProtocolError(f"{frames} frames of topic {self.flow.topic!r:.100} acknowledged: impossible")
        for _ in range(frames - self._acked):
            self.member.remote_cost -= self.costs.popleft()
        self._acked = frames
        for reader in tuple(self.member.lacking):
            reader.tell_missed()

    def tell_missed(self) -> None:
        """Tells the subscriber how many messages it has missed, if any."""
        missed, self.missed = self.missed, 0
        if missed:
            del self.member.lacking[self]
            self.member.channel.send(kinds.TopicMissed(self.flow.number, missed).encode())


class Board:
    """All topics of a cluster.

    Args:
        schedule: Calls a function so many seconds later.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._topics: dict[str, _Topic] = {}
        self._numbers: set[int] = set()  # those of flows that are open
        self._last_number = 0
        self._remote: dict[tuple[str, str], _RemoteFlow] = {}  # by topic and sender
        self._uplink: Uplink | None = None

    def join(self, pid: int, label: str, channel: Outlet) -> Member:
        """A process that may publish and subscribe from now on, until `Member.leave`.

        Args:
            pid: Its process id.
            label: What the log calls it.
            channel: Leads to it.
        """
        return Member(self, pid, label, channel)

    def _new_number(self) -> int:
        """A number that no flow has had for a long time: a late acknowledgement must not be taken for another's."""
        while True:
            self._last_number = self._last_number % 0xFFFF_FFFF + 1
            if self._last_number not in self._numbers:
                self._numbers.add(self._last_number)
                return self._last_number

    def _topic(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(name)
        return topic

    def _forget_if_idle(self, topic: _Topic) -> None:
        if not topic.is_wanted and not topic.flows and self._topics.get(topic.name) is topic:
            del self._topics[topic.name]

    # ---- flows

    def _begin(self, flow: _Flow) -> None:
        topic = self._topic(flow.topic)
        topic.flows[flow] = None
        for member in topic.members:
            flow.join(member)

    def _end(self, flow: _Flow) -> None:
        flow.end()
        self._numbers.discard(flow.number)
        topic = self._topics[flow.topic]
        del topic.flows[flow]
        self._forget_if_idle(topic)

    # ---- subscriptions

    def _subscribe(self, member: Member, name: str) -> None:
        topic = self._topic(name)
        is_first = not topic.is_wanted
        topic.unanswered[member] = None
        if self._uplink is None:
            topic.is_ready = True
        elif is_first:
            topic.is_ready = False
            self._uplink.wanted(name, partial(self._is_ready, topic))
        self._answer(topic)

    def _is_ready(self, topic: _Topic) -> None:
        topic.is_ready = True
        self._answer(topic)

    def _answer(self, topic: _Topic) -> None:
        """Tells those that wait for it that they are subscribers, if the uplink is ready."""
        if topic.is_ready and topic.unanswered:
            waiting, topic.unanswered = topic.unanswered, {}
            answer = kinds.Subscribed(topic.name).encode()
            for member in waiting:
                topic.members[member] = None
                member.channel.send(answer)
                for flow in topic.flows:
                    flow.join(member)

    def _unsubscribe(self, member: Member, name: str, *, is_gone: bool = False) -> None:
        topic = self._topics[name]
        if member in topic.unanswered:
            del topic.unanswered[member]
            if not is_gone:
                member.channel.send(kinds.Subscribed(name).encode())  # it counts the answers
        else:
            del topic.members[member]
            for flow in topic.flows:
                flow.drop(member)
            for remote in topic.remote.values():
                remote.drop(member)
        if not topic.is_wanted:
            for remote in tuple(topic.remote.values()):
                self._end_remote(topic, remote)
            if self._uplink is not None:
                self._uplink.unwanted(name)
            self._forget_if_idle(topic)

    # ---- other machines

    @property
    def uplink(self) -> Uplink | None:
        """What takes messages to other machines; None: nothing does."""
        return self._uplink

    def connect(self, uplink: Uplink) -> None:
        """Has all messages that are published from now on passed to this, and tells it which topics are wanted."""
        self._uplink = uplink
        for name in self.wanted:
            topic = self._topics[name]
            topic.is_ready = False
            uplink.wanted(name, partial(self._is_ready, topic))

    def disconnect(self) -> None:
        """There is no uplink any more."""
        self._uplink = None
        for topic in self._topics.values():
            topic.is_ready = True
            self._answer(topic)

    @property
    def wanted(self) -> list[str]:
        """The topics that have subscribers here now."""
        return [name for name, topic in self._topics.items() if topic.is_wanted]

    def publish_remote(self, topic: str, sender: str, count: int, body: bytes) -> None:
        """A process of another cluster has published messages. Who has no room for them misses them.

        Args:
            topic: The topic.
            sender: ``"host/pid"``.
            count: How many messages.
            body: These, packed one after the other, of any length.
        """
        found = self._topics.get(topic)
        if found is None or not found.members:
            return
        flow = found.remote.get(sender) or self._begin_remote(found, sender)
        frames = [
            encode_flow(kinds.TOPIC_FRAGMENT, flow.number, 0, body[begin : begin + FRAGMENT])
            for begin in range(0, len(body) - FRAGMENT, FRAGMENT)
        ]
        frames.append(encode_flow(kinds.TOPIC, flow.number, count, body[len(frames) * FRAGMENT :]))
        flow.forward(found.members, frames, sum(map(len, frames)), count)

    def _begin_remote(self, topic: _Topic, sender: str) -> _RemoteFlow:
        if len(self._remote) >= _MOST_REMOTE:
            self._end_one_remote()
        flow = topic.remote[sender] = self._remote[topic.name, sender] = _RemoteFlow(
            self._new_number(), topic.name, sender
        )
        return flow

    def _end_one_remote(self) -> None:
        """Ends the oldest remote flow of which all is acknowledged."""
        for flow in self._remote.values():
            if not any(reader.costs for reader in flow.readers.values()):
                self._end_remote(self._topics[flow.topic], flow)
                return

    def _end_remote(self, topic: _Topic, flow: _RemoteFlow) -> None:
        flow.end()
        self._numbers.discard(flow.number)
        del topic.remote[flow.sender]
        del self._remote[flow.topic, flow.sender]

    def host_left(self, host: str) -> None:
        """The cluster of that host is gone: ends what its processes publish."""
        for flow in [flow for flow in self._remote.values() if flow.sender.rpartition("/")[0] == host]:
            self._end_remote(self._topics[flow.topic], flow)


def _checked(topic: str) -> str:
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= LONGEST_TOPIC:
        raise ProtocolError(f"{topic!r:.100} is no topic")
    return topic
