"""``publish()`` and ``subscribe()``, which `Worker`, `Primary` and `Cluster` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import BackplaneError
from .codec import pack, pack_exact, within_limit
from .windows import UNIT

if TYPE_CHECKING:
    from .subscription import OnFull, Subscription
    from .topics import Topics


class TopicPeer:
    """Publishes and subscribes, to and from all processes of the cluster: the primary, the workers and the agents."""

    _topics: Topics | None = None

    def _begin_topics(self) -> Topics:
        """Makes `_topics`, when it is first used, and returns it."""
        raise NotImplementedError

    async def publish(self, topic: str, message: Any) -> None:
        """Publishes a message: each subscription to this topic gets it, in every process of the cluster,
        and of the other clusters of its fleet (there at most once, and without waiting for them).

        The messages that one process publishes to a topic arrive in their order. This waits while 256 KiB of what was
        published to this topic are not acknowledged by its slowest subscriber, or 2 MiB of all topics. One that
        acknowledges nothing for 30 seconds meanwhile is no longer waited for: it misses what follows, which is counted
        in its `Subscription.dropped`, until it goes on. Nobody is told if there are no subscribers.

        This process's own subscriptions get the message at once, and are never waited for.

        Args:
            topic: A str of at most 1,024 bytes in UTF-8.
            message: Anything that msgpack can carry; see the documentation's page on messages.

        Raises:
            BackplaneError: The other clusters of the fleet can't be reached. Those who subscribe in this one get it.
            ChannelClosedError: The channel to the primary has ended.
            SerializationError: The message holds something that msgpack can't carry. Nothing was sent.
            MessageTooLargeError: The packed message is larger than 64 MiB. Nothing was sent.
            TypeError: The topic is no str.
            ValueError: The topic is empty or too long.
        """
        topics = self._topics or self._begin_topics()
        try:
            flow = topics.flows[topic]
        except (KeyError, TypeError):
            flow = topics.open(topic)
        try:
            body: bytes = pack_exact(message)
        except Exception:
            body = pack(message)
        if flow.is_local:
            flow.deliver(topics.pid, within_limit(body))
        left = flow.left - (len(body) >> UNIT) - 1
        if left >= 0:
            flow.left = left
            flow.bodies.append(body)
        elif not flow.put_into_new_batch(body):
            await flow.send(within_limit(body))
        if topics.unreachable is not None:
            raise BackplaneError(f"published in this cluster only: {topics.unreachable}")

    def subscribe(self, *topics: str, on_full: OnFull = "wait") -> Subscription:
        """Subscribes to topics: ``async with …subscribe("news") as messages:``, then ``async for message in messages``.

        It hears all that is published to them from when the block is entered until it is left, by other processes and
        by this one. Each subscription gets each message once, and objects of its own.

        Args:
            *topics: Each a str of at most 1,024 bytes in UTF-8.
            on_full: What becomes of messages that are not taken fast enough. ``"wait"``: their publishers wait; a
                message is acknowledged when the loop asks for the one after it and its batch. ``"drop_oldest"``: 512
                KiB are kept, and then the oldest ones are dropped and counted in `Subscription.dropped`. With both,
                messages of this process itself are kept and dropped in this way.

        Raises:
            TypeError: A topic is no str.
            ValueError: There is no topic, or one is empty or too long, or there is no such ``on_full``.
        """
        return (self._topics or self._begin_topics()).subscription(topics, on_full)
