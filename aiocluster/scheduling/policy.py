"""The interface of a policy, and what a policy sees of a worker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

W = TypeVar("W", bound=Hashable)
C = TypeVar("C", bound="Candidate")


class Candidate(Hashable, Protocol):
    """A worker as policies see it. It is hashable, by identity."""

    @property
    def slot(self) -> int:
        """The number of its slot in the cluster, from 0 on. Its replacement gets the same slot.

        An agent that listens on the port has a number here too: one above all slots.
        """

    @property
    def weight(self) -> int:
        """Its weight, from 1 on, for policies that use weights."""

    @property
    def connections(self) -> int:
        """How many connections it has: open ones, and pending ones that it has not taken yet."""

    @property
    def delay(self) -> float:
        """Its event loop's delay or its response time, smoothed, in seconds; 0.0 if unknown."""

    @property
    def busy(self) -> float | None:
        """The share of time that its event loop does not wait for I/O, smoothed, 0.0 to 1.0; None if unknown."""


class Policy(ABC, Generic[W]):
    """Chooses the worker for each connection. Each port has an instance of its own.

    One event loop makes all calls, one after the other. Each must return at once. Any object that has `add`, `remove`
    and `pick` can be a policy; it need not be a subclass.
    """

    sticky: ClassVar[bool] = True
    """Whether a connection waits for the worker that was picked, although that is busy and others are free.

    Where it goes then matters more than when it is served, as with caches and sessions in a worker's memory. Policies
    that just spread connections say False. A worker may have up to 64 connections that it is not ready with; if False,
    as many as it is ready with in 3 ms, from 1 to 16, and none more if it has not been ready with one for 200 ms.
    """

    pulls: ClassVar[bool] = False
    """Whether a worker that a connection has kept busy for more than a millisecond may take the next waiting one.

    That saves the way through the primary, but this connection is not picked for.
    """

    def attach(self, is_ready: Callable[[W], bool]) -> None:
        """It is about to serve a port. Called once, before everything else.

        Args:
            is_ready: Says whether a worker is ready with all connections that it has been sent there, or soon will be.
        """

    @abstractmethod
    def add(self, worker: W) -> None:
        """This worker may be picked from now on. It is not in the policy yet.

        During a reload two workers may have the same slot for a while: the old one and its replacement.
        """

    @abstractmethod
    def remove(self, worker: W) -> None:
        """This worker must not be picked until it is added again.

        Either it is gone, or it has as many pending connections as it may have and will be added again soon.
        """

    @abstractmethod
    def pick(self, client: Any) -> W:
        """Returns the worker for this connection. Called only while at least one worker may be picked.

        Args:
            client: The client's address as ``accept()`` returns it.
        """

    def awaited(self) -> Iterable[W]:
        """Workers that may not be picked now, but for which the next connection should wait a moment.

        It does so until one of them may be picked, or all are late. None by default: waiting can cost more than it
        gains, see `LeastConnections`.
        """
        return ()

    def settle(self) -> None:
        """Nobody has connected for a moment, or a second has passed: ``connections`` may be looked at anew."""

    def forget(self, worker: W) -> None:
        """This worker has just been removed for good. If it is added again, treat it as new."""

    def changed(self, worker: W) -> None:
        """This worker's ``connections``, ``delay`` or ``busy`` have changed.

        Also called for workers that may not be picked.
        """


class Peeking(Policy[W]):
    """A policy that sees a connection's first bytes, which stay in its socket (``MSG_PEEK``, recv(2)).

    The primary peeks whenever more bytes have arrived, until `has_enough` returns true, `patience` is over, the client
    has finished sending, or `peek_limit` is reached. Then it calls `pick_by`. Meanwhile, other clients are served.
    """

    peek_limit: ClassVar[int]
    """The most bytes to peek at."""

    patience: ClassVar[float]
    """The longest wait for a client's bytes, in seconds. It limits how many connections slow clients can keep in the
    primary."""

    @abstractmethod
    def has_enough(self, first: bytes) -> bool:
        """Whether these first bytes are enough to pick a worker, or more bytes would change nothing."""

    @abstractmethod
    def pick_by(self, client: Any, first: bytes) -> W:
        """Like `pick`, with the first bytes that have arrived so far. There may be none."""

    def pick(self, client: Any) -> W:
        """Returns the worker for a connection without peeking at it."""
        return self.pick_by(client, b"")
