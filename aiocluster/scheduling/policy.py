"""What a policy is, and what it sees of a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

W = TypeVar("W", bound=Hashable)


class Candidate(Hashable, Protocol):
    """A worker as policies see it; the primary makes one of each worker. It is hashable, by identity."""

    @property
    def slot(self) -> int:
        """Its place in the cluster, from 0 on. Its replacement inherits it."""

    @property
    def weight(self) -> int:
        """Its share, from 1 on, where a policy goes by weights."""

    @property
    def connections(self) -> int:
        """The connections it has: those open, and those that are on their way to it."""

    @property
    def delay(self) -> float:
        """Seconds, smoothed, that its event loop lets things wait, or that it takes to respond; 0.0 if unknown."""


class Policy(ABC, Generic[W]):
    """Which worker gets a connection: one instance for each port.

    All calls are made by one event loop, one after the other, and must return at once. A subclass is the easy way;
    any object that has `add`, `remove` and `pick` will do.
    """

    @abstractmethod
    def add(self, worker: W) -> None:
        """This worker may be picked from now on. It is not among them yet.

        During a reload there may be two with the same slot for a while: the old one, and its replacement.
        """

    @abstractmethod
    def remove(self, worker: W) -> None:
        """This worker must not be picked until it is added again.

        It is gone; or it has been sent as many connections as it may have outstanding, and will be back in a moment.
        """

    @abstractmethod
    def pick(self, client: Any) -> W:
        """The worker that gets this connection. Called only while at least one may be picked.

        Args:
            client: The client's address as ``accept()`` returns it.
        """

    def forget(self, worker: W) -> None:
        """This worker has just been removed, and not for a moment: should it come back, it is a new one."""

    def changed(self, worker: W) -> None:
        """This worker's ``connections`` or ``delay`` have changed. It need not be one that may be picked."""


class Peeking(Policy[W]):
    """A policy that wants to see a connection's first bytes, which stay in its socket (``MSG_PEEK``, recv(2)).

    Whoever accepts looks at them each time there are more, until `has_enough` says so, `patience` is over, the client
    has finished sending, or `peek_limit` is reached. Then it calls `pick_by`. Other clients don't wait meanwhile.
    """

    peek_limit: ClassVar[int]
    """Bytes: the most it looks at."""

    patience: ClassVar[float]
    """Seconds: the longest it lets a silent client wait. Bounds what slow clients can hold in the primary."""

    @abstractmethod
    def has_enough(self, first: bytes) -> bool:
        """Whether these first bytes will do, be it because more of them could change nothing."""

    @abstractmethod
    def pick_by(self, client: Any, first: bytes) -> W:
        """Like `pick`, with the first bytes that have come so far, possibly none."""

    def pick(self, client: Any) -> W:
        """The worker for a connection of which nothing has been seen."""
        return self.pick_by(client, b"")
