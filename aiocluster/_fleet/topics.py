"""Topics between clusters: each topic is a channel of Redis, which the clusters with subscribers hear."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .._primary.topics import Board
from ..errors import ProtocolError
from .backplane import Backplane
from .letters import Published, parse
from .names import Names

logger = logging.getLogger("aiocluster.fleet")

MOST = 16 * 1024 * 1024
"""The most bytes that may wait for Redis, besides one message. What is published meanwhile does not reach others."""


class TopicUplink:
    """Takes what this cluster publishes to the others, and what they publish to this one's board.

    Args:
        host: This cluster.
        names: What the fleet calls its channels.
        backplane: Leads to Redis.
        board: This cluster's topics.

    Attributes:
        dropped: How many messages have not reached others, because Redis was too slow.
    """

    def __init__(self, host: str, names: Names, backplane: Backplane, board: Board) -> None:
        self.dropped: int = 0
        self._host = host
        self._names = names
        self._backplane = backplane
        self._board = board
        self._is_slow = False

    def publish(self, topic: str, sender: int, count: int, body: bytes) -> None:
        """A process of this cluster has published messages. Without a connection, others don't get them."""
        if self._backplane.waiting > MOST:
            self.dropped += count
            if not self._is_slow:
                self._is_slow = True
                logger.warning(
                    "what is published is not sent to other clusters: %d MiB wait for %s, which is too slow",
                    MOST // 2**20,
                    self._backplane.url,
                )
            return
        if self._is_slow and self._backplane.waiting < MOST // 2:
            self._is_slow = False
            logger.warning("what is published is sent to other clusters again; %d messages were not", self.dropped)
        letter = Published(self._host, sender, count, body)
        self._backplane.publish(self._names.topic(topic), letter.encode())

    def wanted(self, topic: str, ready: Callable[[], None]) -> None:
        """A topic has its first subscriber here."""
        self._backplane.subscribe(self._names.topic(topic)).add_done_callback(lambda done: ready())

    def unwanted(self, topic: str) -> None:
        """A topic has no subscriber here any more."""
        self._backplane.unsubscribe(self._names.topic(topic))

    def heard(self, topic: str, data: bytes) -> None:
        """Something has been published to a topic, maybe by this cluster itself.

        Raises:
            ProtocolError: It is nothing that a cluster publishes.
        """
        letter = parse(data)
        if not isinstance(letter, Published):
            raise ProtocolError(f"a {letter.tag} on the channel of the topic {topic!r:.100}")
        if letter.host != self._host:
            self._board.publish_remote(topic, f"{letter.host}/{letter.pid}", letter.count, letter.body)
