"""What a policy is, and what it sees of a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

W = TypeVar("W", bound=Hashable)
C = TypeVar("C", bound="Candidate")


class Candidate(Hashable, Protocol):
    """A worker as policies see it. It is hashable, by identity."""

    @property
    def slot(self) -> int:
        """The number of its slot in the cluster, from 0 on. Its replacement inherits it."""

    @property
    def weight(self) -> int:
        """Its share, from 1 on, where a policy goes by weights."""

    @property
    def connections(self) -> int:
        """The connections it has: those open, and those that are on their way to it."""

    @property
    def delay(self) -> float:
        """Its event loop's delay or its response time, smoothed, in seconds; 0.0 if unknown."""


class Policy(ABC, Generic[W]):
    """Which worker gets a connection: one instance for each port.

    One event loop makes all calls, one after the other. Each must return at once. Subclassing is the easy way; any
    object that has `add`, `remove` and `pick` will do.
    """

    @abstractmethod
    def add(self, worker: W) -> None:
        """This worker may be picked from now on. It is not among them yet.

        During a reload two workers may have the same slot for a while: the old one and its replacement.
        """

    @abstractmethod
    def remove(self, worker: W) -> None:
        """This worker must not be picked until it is added again.

        Either it is gone, or it has as many connections on their way as it may have and is added again in a moment.
        """

    @abstractmethod
    def pick(self, client: Any) -> W:
        """The worker that gets this connection. Called only while at least one worker may be picked.

        Args:
            client: The client's address as ``accept()`` returns it.
        """

    def forget(self, worker: W) -> None:
        """This worker has just been removed, and not only for a moment. If it is added again, treat it as new."""

    def changed(self, worker: W) -> None:
        """This worker's ``connections`` or ``delay`` have changed. It need not be one that may be picked."""


class Peeking(Policy[W]):
    """A policy that sees a connection's first bytes, which stay in its socket (``MSG_PEEK``, recv(2)).

    The primary looks at them whenever more have arrived, until `has_enough` returns true, `patience` is over, the
    client has finished sending, or `peek_limit` is reached. Then it calls `pick_by`. Other clients need not wait.
    """

    peek_limit: ClassVar[int]
    """Bytes: the most it looks at."""

    patience: ClassVar[float]
    """Seconds: the longest it lets a silent client wait. This limits what slow clients can hold in the primary."""

    @abstractmethod
    def has_enough(self, first: bytes) -> bool:
        """Whether these first bytes are enough, also because more of them would change nothing."""

    @abstractmethod
    def pick_by(self, client: Any, first: bytes) -> W:
        """Like `pick`, with the first bytes that have arrived so far, possibly none."""

    def pick(self, client: Any) -> W:
        """The worker for a connection of which nothing has been seen."""
        return self.pick_by(client, b"")
