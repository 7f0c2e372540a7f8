"""The flow of what this process publishes to one topic, and what all these flows may have unacknowledged together."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from . import frames as kinds
from .codec import MAX_MESSAGE
from .windows import WINDOW, Ancillary, Lane, Outlet, SendWindow

if TYPE_CHECKING:
    from .subscription import Subscription

TOPIC_WINDOW = WINDOW // 2
"""The most bytes that a publisher may have unacknowledged of one topic."""

TOPICS = Lane(
    TOPIC_WINDOW,
    # Subscribers don't check it: the primary does, and it sends what comes from other machines without a window.
    MAX_MESSAGE + 2 * TOPIC_WINDOW,
    kinds.TOPIC,
    kinds.TOPIC_FRAGMENT,
    kinds.TOPIC_DISCARD,
    kinds.TOPIC_ACK,
)

BUDGET = 8 * TOPIC_WINDOW
"""The most bytes that a publisher may have unacknowledged of all topics: the primary may have to keep them."""


class Budget:
    """What a publisher has unacknowledged of all topics, and who waits until that is less than `BUDGET`."""

    def __init__(self) -> None:
        self.used: int = 0
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def is_used_up(self) -> bool:
        """Whether there is no room for a frame of any topic."""
        return self.used >= BUDGET

    def give_back(self, cost: int) -> None:
        """So many bytes have been acknowledged."""
        self.used -= cost
        if self._waiting and not self.is_used_up:
            self.wake()

    def wake(self) -> None:
        """All who wait look again."""
        for future in self._waiting:
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(None)

    async def wait(self) -> None:
        """Returns when something has been given back."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)


class Hearers:
    """The subscriptions of this process to a topic. It does not keep them alive: one may be forgotten, and not closed.

    A `weakref.WeakSet` does the same and takes several times as long to iterate over.
    """

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: tuple[weakref.ref[Subscription], ...] = ()

    def add(self, subscription: Subscription) -> None:
        """Adds one that is not there yet."""
        self._references = (*self._references, weakref.ref(subscription))

    def discard(self, subscription: Subscription) -> None:
        """Removes it, if it is there."""
        self._references = tuple(one for one in self._references if one() not in (None, subscription))

    def __iter__(self) -> Iterator[Subscription]:
        """Those that are there now: it may change meanwhile."""
        for reference in self._references:
            if (subscription := reference()) is not None:
                yield subscription

    def __bool__(self) -> bool:
        return any(reference() is not None for reference in self._references)


class Publication(SendWindow):
    """The flow of what this process publishes to one topic.

    Args:
        channel: Leads to the primary.
        number: The flow's number.
        topic: The topic.
        budget: What all flows of this process share.

    Attributes:
        topic: The topic.
        local: The subscriptions of this process to that topic.
        is_local: Whether there are any.
    """

    def __init__(self, channel: Outlet, number: int, topic: str, budget: Budget) -> None:
        super().__init__(channel, number, "the primary", TOPICS)
        self.topic = topic
        self.local: Iterable[Subscription] = ()
        self.is_local: bool = False
        self._budget = budget
        self._acked_when_seen = -1

    def hear(self, local: Iterable[Subscription] | None) -> None:
        """These are the subscriptions of this process from now on; None: there are none."""
        self.local = () if local is None else local
        self.is_local = local is not None

    def deliver(self, sender: int, body: bytes) -> None:
        """Delivers a packed message to the subscriptions of this process."""
        for subscription in self.local:
            subscription._put_own(self.topic, sender, body)

    def has_rested(self) -> bool:
        """Whether all is acknowledged, and nothing has been sent since this was asked before."""
        is_idle = self.batch is None and not self._under_way and not self._queue.waiting
        seen, self._acked_when_seen = self._acked_when_seen, self._acked
        return is_idle and seen == self._acked

    # ---- what is in flight counts in the budget, too

    def end_batch(self) -> None:
        before = self._cost
        super().end_batch()
        self._budget.used += self._cost - before

    def _put_frame(
        self,
        kind: int,
        number: int,
        body: bytes | memoryview,
        bodies: list[bytes],
        ancillary: Ancillary | None = None,
    ) -> None:
        self.end_batch()
        before = self._cost
        super()._put_frame(kind, number, body, [], ancillary)  # nothing is returned to who has published it
        self._budget.used += self._cost - before

    def acked(self, frames: int) -> None:
        before = self._cost
        try:
            super().acked(frames)
        finally:
            self._budget.give_back(before - self._cost)

    def _is_free(self) -> bool:
        return super()._is_free() and not self._budget.is_used_up

    async def _wait_for_room(self) -> None:
        await super()._wait_for_room()
        while self._budget.is_used_up and not self._is_over():
            await self._budget.wait()
            await super()._wait_for_room()
