"""Topics as a process sees them that publishes and subscribes: a worker, or the primary itself.

::

    publisher                          primary (`_primary/topics.py`)                       subscriber
    Publication ──[TOPIC, 3, n, …]──▶ its flow 3 is 71 ──[TOPIC, 71, n, …]──▶ ReceiveWindow ─▶ Subscription, …
        ▲                                                                          │
        └──[TOPIC_ACK, 3, frames]◀──── the slowest of all ◀──[TOPIC_ACK, 71, frames]──┘

What a process publishes to one topic is a flow, with a window like any other (`windows`): batches, fragments and
acknowledgements. Its own subscriptions get it at once, without the primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from .._events.emitter import LetGo
from ..errors import BackplaneError, ChannelClosedError, ClusterError
from . import frames as kinds
from .codec import FlowFields
from .frame import Frame, Route, on
from .publication import TOPICS, Budget, Hearers, Publication
from .subscription import OnFull, Subscription
from .windows import Outlet, ReceiveWindow

LONGEST_TOPIC = 1024
"""The most bytes of a topic in UTF-8."""

MOST_SUBSCRIBED = 65_536
"""The most topics that one process may subscribe to at a time."""

_MOST_OPEN = 1024  # flows: with more, those that nothing was published to for a while are closed
_LOOKS = 4  # at so many flows each time, whether they can be closed


def checked_topic(topic: Any) -> str:
    """Returns the topic, or raises TypeError or ValueError."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a str, not {type(topic).__name__}")
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        raise ValueError(f"the topic {topic!r} has a lone surrogate: UTF-8 can't carry it") from None
    if not 0 < size <= LONGEST_TOPIC:
        raise ValueError(f"a topic has from 1 to {LONGEST_TOPIC} bytes in UTF-8, not {size}")
    return str.__str__(topic)  # of an enumeration, its value


class _Incoming:
    """A flow that comes from the primary."""

    __slots__ = ("sender", "subscriptions", "topic", "window")

    def __init__(self, topic: str, sender: int | str, window: ReceiveWindow, subscriptions: Hearers) -> None:
        self.topic = topic
        self.sender = sender
        self.window = window
        self.subscriptions = subscriptions


class _Subscribed:
    """A topic that this process subscribes to."""

    __slots__ = ("flows", "is_live", "subscriptions", "waiting")

    def __init__(self) -> None:
        self.subscriptions = Hearers()
        self.flows: set[int] = set()
        self.is_live = False  # the primary has answered
        self.waiting: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Wakes those who wait for the primary's answer."""
        for future in self.waiting:
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(None)


class Topics:
    """What this process publishes and subscribes to.

    Args:
        channel: Leads to the primary.
        pid: This process's own.
        complain: Called with a failure that no caller waits for.

    Attributes:
        pid: This process's own.
        flows: The flows that it has open, by topic.
        routes: Its frames from the primary, besides those of flows.
        unreachable: Why what is published does not reach other clusters; None: it does, or there are none.
    """

    def __init__(self, channel: Outlet, pid: int, complain: Callable[[Exception], None]) -> None:
        self.pid = pid
        self.unreachable: BackplaneError | None = None
        self.complain = complain
        self._channel = channel
        self.flows: dict[str, Publication] = {}
        self._by_number: dict[int, Publication] = {}
        self._free: list[int] = []  # numbers that flows have had
        self._budget = Budget()
        self._subscribed: dict[str, _Subscribed] = {}
        self._unanswered: dict[str, int] = {}  # by topic: how many `Subscribe` frames the primary has not answered
        self._incoming: dict[int, _Incoming] = {}
        self._abandoned: list[LetGo] = []
        self.routes: tuple[Route, ...] = (
            on(kinds.Subscribed, self._on_subscribed),
            on(kinds.TopicFlow, self._on_flow),
            on(kinds.TopicFlowEnded, self._on_flow_ended),
            on(kinds.TopicMissed, self._on_missed),
        )

    # ---- publishing

    def open(self, topic: Any) -> Publication:
        """Opens a flow for this topic.

        Raises:
            TypeError: It is no str.
            ValueError: It is empty or too long.
            ChannelClosedError: The channel to the primary has ended.
        """
        topic = checked_topic(topic)
        if topic in self.flows:  # of a subclass of str that is not equal to it
            return self.flows[topic]
        self._check_is_open()
        if len(self.flows) >= _MOST_OPEN:
            self._close_rested()
        number = self._free.pop() if self._free else len(self._by_number) + 1
        flow = Publication(self._channel, number, topic, self._budget)
        self._tell(kinds.OpenTopic(number, topic))
        self.flows[topic] = self._by_number[number] = flow
        if topic in self._subscribed:
            flow.hear(self._subscribed[topic].subscriptions)
        return flow

    def _close_rested(self) -> None:
        """Closes flows that nothing was published to for a while, of the next few in turn, until there is room."""
        for _ in range(_LOOKS):
            if len(self.flows) < _MOST_OPEN:
                return
            topic = next(iter(self.flows))
            flow = self.flows.pop(topic)
            if flow.has_rested():
                del self._by_number[flow.peer]
                self._free.append(flow.peer)
                self._tell(kinds.CloseTopic(flow.peer))
            else:
                self.flows[topic] = flow  # the last one to be looked at again

    def _check_is_open(self) -> None:
        if self._channel.is_closed:
            raise ChannelClosedError("the primary is gone: nothing can be published, and nothing subscribed to")

    def _tell(self, frame: Frame) -> None:
        if not self._channel.is_closed:
            self._channel.send(frame.encode())

    # ---- subscribing

    def subscription(self, topics: tuple[Any, ...], on_full: OnFull) -> Subscription:
        """Returns a subscription to these topics, which has not been entered yet."""
        if on_full not in ("wait", "drop_oldest"):
            raise ValueError(f"on_full is 'wait' or 'drop_oldest', not {on_full!r}")
        if not topics:
            raise ValueError("subscribe() needs at least one topic")
        return Subscription._create(self, tuple(dict.fromkeys(map(checked_topic, topics))), on_full)

    async def add(self, subscription: Subscription, names: tuple[str, ...]) -> None:
        """Subscribes to these topics. Returns once the primary has answered.

        Raises:
            ChannelClosedError: The channel to the primary has ended, or ended before it answered.
            ClusterError: This process subscribes to too many topics.
        """
        self._check_is_open()
        self._tidy()
        if len(self._subscribed) + len(names) > MOST_SUBSCRIBED:
            raise ClusterError(f"one process may subscribe to at most {MOST_SUBSCRIBED} topics at a time")
        for topic in names:
            if (forgotten := self._subscribed.get(topic)) is not None:
                self._unsubscribe_if_unheard(topic, forgotten)
            if topic not in self._subscribed:
                self._subscribe(topic)
            self._subscribed[topic].subscriptions.add(subscription)
        for subscribed in [self._subscribed[topic] for topic in names]:
            await self._answer(subscribed)

    def _subscribe(self, topic: str) -> None:
        subscribed = self._subscribed[topic] = _Subscribed()
        if topic in self.flows:
            self.flows[topic].hear(subscribed.subscriptions)
        self._unanswered[topic] = self._unanswered.get(topic, 0) + 1
        self._tell(kinds.Subscribe(topic))

    async def _answer(self, subscribed: _Subscribed) -> None:
        while not subscribed.is_live and subscribed.subscriptions:  # else it was closed meanwhile
            self._check_is_open()
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            subscribed.waiting.add(future)
            try:
                await future
            finally:
                subscribed.waiting.discard(future)

    def remove(self, subscription: Subscription, names: Iterable[str]) -> None:
        """Ends a subscription to these topics."""
        for topic in names:
            subscribed = self._subscribed.get(topic)
            if subscribed is not None:
                subscribed.subscriptions.discard(subscription)
                self._unsubscribe_if_unheard(topic, subscribed)

    def _unsubscribe_if_unheard(self, topic: str, subscribed: _Subscribed) -> None:
        if not subscribed.subscriptions:
            del self._subscribed[topic]
            for number in subscribed.flows:
                self._incoming.pop(number).window.close()
            if topic in self.flows:
                self.flows[topic].hear(None)
            subscribed.wake()
            self._tell(kinds.Unsubscribe(topic))

    def abandoned(self, holds: list[LetGo]) -> None:
        """A subscription was forgotten, and not closed, with so many batches not acknowledged. Called in any thread."""
        self._abandoned += holds
        loop = self._channel.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._tidy)

    def _tidy(self) -> None:
        """Lets go of what forgotten subscriptions have left, and of the topics that nothing else subscribes to."""
        if self._abandoned:
            abandoned, self._abandoned = self._abandoned, []
            for let_go in abandoned:
                let_go()
            for topic, subscribed in tuple(self._subscribed.items()):
                self._unsubscribe_if_unheard(topic, subscribed)

    # ---- frames

    def receive(self, frame: FlowFields) -> None:
        """A frame of a flow has arrived: one of this process's own flows, or one from the primary.

        Raises:
            ProtocolError: The frame is invalid.
        """
        kind, number, count, body = frame
        if kind == kinds.TOPIC_ACK:
            flow = self._by_number.get(number)
            if flow is not None:
                flow.acked(count)
            return
        incoming = self._incoming.get(number)
        if incoming is None:
            return  # of an earlier subscription
        window = incoming.window
        whole = window.accept(kind, body)
        if whole is not None and count:
            is_heard = False
            for subscription in incoming.subscriptions:
                subscription._put(incoming.topic, incoming.sender, count, whole, window)
                is_heard = True
            if not is_heard and incoming.topic in self._subscribed:
                self._unsubscribe_if_unheard(incoming.topic, self._subscribed[incoming.topic])

    def _on_subscribed(self, frame: kinds.Subscribed) -> None:
        left = self._unanswered.pop(frame.topic, 1) - 1
        if left > 0:
            self._unanswered[frame.topic] = left
        elif frame.topic in self._subscribed:
            subscribed = self._subscribed[frame.topic]
            subscribed.is_live = True
            subscribed.wake()

    def _on_flow(self, frame: kinds.TopicFlow) -> None:
        subscribed = self._subscribed.get(frame.topic)
        if subscribed is not None and subscribed.is_live:
            window = ReceiveWindow(self._channel, frame.number, TOPICS)
            subscribed.flows.add(frame.number)
            self._incoming[frame.number] = _Incoming(frame.topic, frame.sender, window, subscribed.subscriptions)

    def _on_flow_ended(self, frame: kinds.TopicFlowEnded) -> None:
        incoming = self._incoming.pop(frame.number, None)
        if incoming is not None:
            incoming.window.close()
            self._subscribed[incoming.topic].flows.discard(frame.number)

    def _on_missed(self, frame: kinds.TopicMissed) -> None:
        incoming = self._incoming.get(frame.number)
        if incoming is not None:
            for subscription in incoming.subscriptions:
                subscription.dropped += frame.count

    # ---- the end

    def close(self) -> None:
        """The channel to the primary has ended: loops end, and who waits gets `ChannelClosedError`."""
        for flow in self._by_number.values():
            flow.close()
        self._budget.wake()
        self.flows.clear()
        self._by_number.clear()
        for incoming in self._incoming.values():
            incoming.window.close()
        self._incoming.clear()
        for subscribed in tuple(self._subscribed.values()):
            subscribed.flows.clear()
            subscribed.wake()
            for subscription in subscribed.subscriptions:
                subscription._complete()
