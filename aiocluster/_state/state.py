"""`State`: what users see of the state. It checks keys and values, packs and unpacks; an `Engine` keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from .._checks import number
from .._no_constructor import NoConstructor
from .._wire.codec import pack, unpack
from ..errors import MessageTooLargeError, SerializationError
from .engine import Engine
from .lock import Lease, Locks
from .mirror import Mirror, mirrored
from .watch import Changes

MAX_KEY = 1024
"""The most bytes that a key may have, in UTF-8."""

_SURELY_SHORT = MAX_KEY // 4  # characters: none has more than four bytes
_LOW, _HIGH = -(2**63), 2**63 - 1


class State(metaclass=NoConstructor, made_by="a Cluster"):
    """Keys and values that all workers of a cluster share, its agents and the primary included.

    `Cluster.state` and `Worker.state` return it. A key is a str of at most 1024 bytes. A value is what a message may
    be. All operations on a key happen one after the other, so none is lost: counters count, and of several that set a
    key only if it is absent, one does.

    Each method raises `ClusterError` if there is no state to be had: `ChannelClosedError` if the process that keeps it
    has gone meanwhile, `BackplaneError` if a Redis can't be reached. Reads are tried again before. A write may or may
    not have been done then, as also one that was cancelled.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._locks = Locks(engine)

    async def get(self, key: str, default: Any = None) -> Any:
        """Returns a key's value; ``default`` if there is no such key.

        Raises:
            ValueError: The key has more than 1024 bytes.
            TypeError: The key is no str.
        """
        body = await self._engine.get(_key(key))
        return default if body is None else unpack(body)

    async def set(self, key: str, value: Any, *, ttl: float | None = None, if_absent: bool = False) -> bool:
        """Sets a key. Returns whether it has.

        Args:
            key: A str of at most 1024 bytes.
            value: What a message may be.
            ttl: Seconds after which the key is gone. None: it stays, also if it had a time to live before.
            if_absent: Sets it only if there is no such key. Else it changes nothing, and returns False.

        Raises:
            ValueError: The key has more than 1024 bytes, or ``ttl`` is not above 0.
            TypeError: The key is no str, or ``ttl`` no number.
            SerializationError: The value holds something that msgpack can't carry. The text says where.
            MessageTooLargeError: The packed value has more than 64 MiB.
        """
        return await self._engine.set(_key(key), _packed(value), _ttl(ttl), bool(if_absent))

    async def delete(self, key: str) -> bool:
        """Deletes a key. Returns whether there was one.

        Raises:
            ValueError: The key has more than 1024 bytes.
            TypeError: The key is no str.
        """
        return await self._engine.delete(_key(key))

    async def incr(self, key: str, by: int = 1, *, ttl: float | None = None) -> int:
        """Adds to an int, and returns the sum.

        Args:
            key: A str of at most 1024 bytes. If there is no such key, it counts as 0.
            by: What to add; a negative number subtracts.
            ttl: Seconds after which a key that this makes is gone. If there is such a key, its time to live stays.

        Raises:
            TypeError: The key's value is no int (a bool is none), or an argument is of the wrong type.
            ValueError: The key has more than 1024 bytes, or ``ttl`` is not above 0.
            OverflowError: The sum is not within 64 bits, with its sign. Nothing has changed.
        """
        if type(by) is not int and (isinstance(by, bool) or not isinstance(by, int)):
            raise TypeError(f"by must be a whole number, not {by!r}")
        if not _LOW <= by <= _HIGH:
            raise OverflowError(f"by must be a whole number of 64 bits, not {by}")
        return await self._engine.incr(_key(key), by, _ttl(ttl))

    async def replace(self, key: str, expected: Any, value: Any) -> bool:
        """Sets a key to ``value`` if it is ``expected`` now: compare and set. Its time to live stays.

        What is packed is compared, so ``1``, ``1.0`` and ``True`` differ, and so do dicts of another order.

        Returns:
            Whether it has. If not, the key is something else meanwhile, or gone.

        Raises:
            ValueError: The key has more than 1024 bytes.
            TypeError: The key is no str.
            SerializationError: A value holds something that msgpack can't carry. The text says where.
            MessageTooLargeError: A packed value has more than 64 MiB.
        """
        return await self._engine.replace(_key(key), _packed(expected, "expected"), _packed(value))

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Returns the values of these keys, without those that don't exist.

        Raises:
            ValueError: A key has more than 1024 bytes.
            TypeError: A key is no str.
        """
        if isinstance(keys, str):
            raise TypeError(f"keys must be several keys, not the str {keys!r}")
        asked = list(dict.fromkeys(map(_key, keys)))
        bodies: Sequence[bytes | None] = await self._engine.get_many(asked) if asked else ()
        return {key: unpack(body) for key, body in zip(asked, bodies, strict=True) if body is not None}

    async def keys(self, prefix: str = "") -> list[str]:
        """Returns the keys that begin with ``prefix``, sorted. It looks at all keys that there are.

        Raises:
            ValueError: The prefix has more than 1024 bytes.
            TypeError: The prefix is no str.
        """
        return sorted(await self._engine.keys(_key(prefix, "prefix")))

    def lock(self, name: str, *, ttl: float = 30.0, timeout: float | None = None) -> AbstractAsyncContextManager[Lease]:
        """Holds a lock: ``async with state.lock("report") as lease``. Of all who ask for the same name, one has it.

        The lock is a lease. It is renewed while it is held, each third of ``ttl``. If that fails, or this process was
        stopped for too long, another one may get it: then ``lease.lost`` is set, so look at it before you do what must
        not be done twice. Or give ``lease.token`` along: it is larger for each new owner of this lock, so that whoever
        has seen a larger one can refuse a smaller one.

        Args:
            name: A str of at most 1024 bytes. Locks and keys have nothing to do with each other.
            ttl: Seconds after which others get the lock of a process that has gone.
            timeout: Seconds to wait for it at most; 0: not at all; None: as long as it takes.

        Raises:
            TimeoutError: Another one held it all the time.
            ValueError: The name has more than 1024 bytes, or a number is out of its range.
            TypeError: The name is no str, or a number is none.
        """
        number("ttl", ttl, above=0, unit="seconds")
        if timeout is not None:
            number("timeout", timeout, at_least=0, unit="seconds")
        return self._locks.lock(_key(name, "name"), float(ttl), timeout)

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[Changes]:
        """Hears what changes: ``async with state.watch("user:") as changes``, then ``async for change in changes``.

        Each `Change` has the ``key``, its new ``value``, and whether it was ``deleted``, as one is that has expired.
        All changes are heard that are made through the state after the block has been entered, in their order, one's
        own included. Of one who listens slowly, 1024 changes wait; beyond these, only the last one of each key does.

        The loop raises `ChannelClosedError` or `BackplaneError` when changes may have been missed. `mirror` goes on.

        Raises:
            ValueError: The prefix has more than 1024 bytes.
            TypeError: The prefix is no str.
        """
        return self._watch(_key(prefix, "prefix"))

    @asynccontextmanager
    async def _watch(self, prefix: str) -> AsyncIterator[Changes]:
        async with self._engine.watch(prefix) as changes:
            yield Changes._create(changes)

    def mirror(self, prefix: str = "") -> AbstractAsyncContextManager[Mirror]:
        """Copies all keys under ``prefix`` into this process, and keeps the copy current by watching.

        ``async with state.mirror("flag:") as flags`` gives a read-only mapping, from which ``flags["flag:new"]`` is
        read without waiting. A change is there when this process's loop has heard of it. If the connection is lost, the
        mapping stays as it was, with ``flags.is_current`` False, until it has been read anew.

        Raises:
            ValueError: The prefix has more than 1024 bytes.
            TypeError: The prefix is no str.
        """
        return mirrored(self._engine, _key(prefix, "prefix"))

    async def _reach(self) -> None:
        """Returns once the engine has answered.

        Raises:
            ClusterError: It can't be reached.
        """
        await self._engine.reach()

    def _abandon(self) -> None:
        """Closes the copies of connections in a forked child of the process. Touches no event loop."""
        self._engine.abandon()

    async def _close(self) -> None:
        """Returns when locks that were let go of are free, and all connections are closed."""
        await self._locks.close()
        await self._engine.close()


def _key(key: str, what: str = "key") -> str:
    if type(key) is not str:
        if not isinstance(key, str):
            raise TypeError(f"{what} must be a str, not {key!r:.60}")
        key = str(key)
    if len(key) > _SURELY_SHORT or not key.isascii():
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise ValueError(f"{what} has a lone surrogate, which is no text: {key!r:.60}") from None
        if size > MAX_KEY:
            raise ValueError(f"{what} has {size} bytes in UTF-8; the limit is {MAX_KEY}: {key!r:.60}…")
    return key


def _ttl(ttl: float | None) -> float | None:
    return None if ttl is None else float(number("ttl", ttl, above=0, unit="seconds"))


def _packed(value: Any, what: str = "value") -> bytes:
    try:
        return pack(value)
    except SerializationError as error:  # "message["user"]: set"
        raise SerializationError(what + str(error).removeprefix("message")) from None
    except MessageTooLargeError as error:  # "the message has … bytes packed"
        raise MessageTooLargeError(str(error).replace("the message", what, 1)) from None
