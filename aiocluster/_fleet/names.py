"""Pure: what the channels and keys of a fleet are called in a Redis that others may use, too.

All keys of a fleet have the same hash tag, so that in a Redis Cluster they are on the same node.
"""

from __future__ import annotations

from collections.abc import Iterator


class Names:
    """The names of one fleet.

    Args:
        prefix: What all names begin with.
        fleet: The fleet's name.

    Attributes:
        all: The channel that every cluster of the fleet hears.
    """

    def __init__(self, prefix: str, fleet: str) -> None:
        self._base = f"{prefix}:fleet:{{{fleet}}}"
        self._topics = f"{self._base}:topic:"
        self.all: str = f"{self._base}:all"

    def host(self, host: str) -> str:
        """The channel that only this cluster hears."""
        return f"{self._base}:host:{host}"

    def topic(self, topic: str) -> str:
        """The channel of a topic."""
        return self._topics + topic

    def topic_of(self, channel: str) -> str | None:
        """The topic whose channel that is; None: it is no topic's."""
        return channel[len(self._topics) :] if channel.startswith(self._topics) else None

    def lease(self, agent: str) -> Iterator[str]:
        """The keys of an agent's lease: who has it, and what is remembered of it."""
        yield f"{self._base}:agent:{agent}"
        yield f"{self._base}:agent:{agent}:history"
