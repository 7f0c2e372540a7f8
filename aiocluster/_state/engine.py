"""What an engine of the state does. It knows packed values only; `State` has the contract that users see.

::

    State ── Engine ──┬── ChannelEngine ── a channel ── the state's process: memory or SQLite
                      └── RedisEngine ──── redis-py

All of these methods may be cancelled. An operation that was under way then may or may not have been done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Changed:
    """A key that has been set, or was deleted, or has expired.

    Attributes:
        key: The key.
        value: Its new value, packed; None: there is none any more.
    """

    key: str
    value: bytes | None


class Engine(Protocol):
    """Where the state is kept, as one process sees it.

    Each method raises a `ClusterError` if the engine can't be reached: a `ChannelClosedError` or a `BackplaneError`.
    Reads have been tried again then. Of a write its text says that it may or may not have been done.
    """

    def get(self, key: str) -> Awaitable[bytes | None]:
        """Returns a key's value; None if there is none."""
        ...

    def set(self, key: str, value: bytes, ttl: float | None, if_absent: bool) -> Awaitable[bool]:
        """Sets a key, which then lives for ``ttl`` seconds, or forever. Returns whether it did.

        With ``if_absent`` it does nothing if there is such a key.
        """
        ...

    def delete(self, key: str) -> Awaitable[bool]:
        """Deletes a key. Returns whether there was one."""
        ...

    def incr(self, key: str, by: int, ttl: float | None) -> Awaitable[int]:
        """Adds to a packed int, and returns the sum. A key that does not exist counts as 0, and is given this ``ttl``.

        Raises:
            TypeError: Its value is no int, or a bool.
            OverflowError: The sum has more than 64 bits, with its sign. Nothing has changed.
        """
        ...

    def replace(self, key: str, expected: bytes, value: bytes) -> Awaitable[bool]:
        """Replaces a value if it is ``expected``, byte for byte; its time to live stays. Returns whether it did."""
        ...

    def get_many(self, keys: list[str]) -> Awaitable[list[bytes | None]]:
        """Returns the values of these keys, in this order; None for each that does not exist."""
        ...

    def keys(self, prefix: str) -> Awaitable[list[str]]:
        """Returns the keys that begin with ``prefix``, in any order, each once."""
        ...

    def acquire(self, name: str, owner: str, ttl: float) -> Awaitable[int | None]:
        """Takes a lock for ``ttl`` seconds. Returns the fencing token; None: another owner holds it.

        The token is larger than all that this lock has had, also if it has expired meanwhile.
        """
        ...

    def renew(self, name: str, owner: str, ttl: float) -> Awaitable[bool]:
        """Holds a lock for ``ttl`` seconds from now on. Returns False if this owner no longer holds it."""
        ...

    def release(self, name: str, owner: str) -> Awaitable[bool]:
        """Lets go of a lock. Returns False if this owner does not hold it."""
        ...

    def watch(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[Changed]]:
        """Hears what changes under ``prefix``, from the moment it is entered.

        A key's changes come in their order. Of one who does not listen, only the last change of each key is kept, once
        many are waiting. The iterator raises a `ClusterError` when changes may have been missed.
        """
        ...

    def watch_lock(self, name: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """Yields an event that is set whenever this lock may have become free: released, expired, or unknown."""
        ...

    async def catch_up(self) -> None:
        """Returns when watchers have heard of what was changed before.

        Raises:
            ClusterError: Nothing is heard now.
        """
        ...

    async def reach(self) -> None:
        """Returns once it has answered, and would take a change.

        Raises:
            ClusterError: It can't be reached, or takes none.
        """
        ...

    def abandon(self) -> None:
        """Closes the copies of all connections in a forked child of the process. Touches no event loop."""
        ...

    async def close(self) -> None:
        """Lets go of all connections. Operations under way raise `ChannelClosedError`."""
        ...
