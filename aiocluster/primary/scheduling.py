"""Which worker gets this connection: sans-I/O, one small class a policy.

A policy hears which workers may be picked (`Policy.add`, `Policy.remove`) and picks one. A worker whose window is full
is removed and added again once it has room, so a policy never sees a worker that can't take a connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

W = TypeVar("W", bound=Hashable)

SHARED = "shared"
"""No policy of the primary's: the workers accept on one listening socket, as the kernel wakes them."""


class Policy(Protocol[W]):
    """What a policy has to have. Its calls are made by one event loop, one after the other."""

    def add(self, worker: W) -> None:
        """This worker may be picked from now on. It is not among them yet."""

    def remove(self, worker: W) -> None:
        """This worker must not be picked until it is added again."""

    def pick(self, client: Any) -> W:
        """The worker that gets the connection.

        Args:
            client: The client's address as ``accept()`` returns it.
        """


class RoundRobin(Generic[W]):
    """Each in turn. A worker that comes back is next: it has missed turns, not had them."""

    def __init__(self) -> None:
        self._turns: deque[W] = deque()

    def add(self, worker: W) -> None:
        self._turns.appendleft(worker)

    def remove(self, worker: W) -> None:
        self._turns.remove(worker)

    def pick(self, client: Any) -> W:
        worker = self._turns[0]
        self._turns.rotate(-1)
        return worker


POLICIES: dict[str, Callable[[], Policy[Any]]] = {"round_robin": RoundRobin}


def check(scheduling: Any) -> None:
    """Raises ValueError unless this names a policy."""
    if scheduling not in (*POLICIES, SHARED):
        raise ValueError(f"scheduling must be one of {', '.join((*POLICIES, SHARED))}, not {scheduling!r}")
