"""The state in a Redis, as one event loop reaches it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgpack

from .._redis.cluster_line import ClusterLine
from .._redis.failure import LostError, RefusedError
from .._redis.line import Argument, Commands, Line
from .._redis.script import Script
from .._redis.subscriber import Subscriber
from .._redis.url import RedisUrl
from ..errors import BackplaneError
from . import redis_scripts as scripts
from .engine import Changed
from .redis_watcher import Watcher

_LONGEST = 10**15  # milliseconds; Redis adds them to its time, within 64 bits
_DIGITS = frozenset(b"-0123456789")
_LARGEST = 2**63 - 1


class RedisClient:
    """What a `RedisEngine` is for one event loop; see `Engine`.

    All keys and channels begin with the URL's prefix and ``:state:`` or ``:lock:``. It connects when it is first used.

    Args:
        url: Where the Redis is.
    """

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._keys = f"{self._url.prefix}:state:".encode()
        self._locks = f"{self._url.prefix}:lock:".encode()
        self._watchers: dict[bytes, list[Watcher]] = {}  # by pattern
        self._waiting: dict[bytes, list[asyncio.Event]] = {}  # for a lock
        self._timers: dict[bytes, asyncio.TimerHandle] = {}  # when a lock will have expired
        self._line: Commands = ClusterLine(url) if url.kind == "cluster" else Line(url)
        self._subscriber = Subscriber(url, self._hear, self._change)

    async def reach(self) -> None:
        """See `Engine.reach`. It makes a change that nobody sees, for which it needs all the rights that changes need.

        Raises:
            BackplaneError: The server can't be reached, or refuses it.
        """
        await self._run(scripts.SET, f"{self._url.prefix}:check".encode(), b"1", 1000, 0)

    async def get(self, key: str) -> bytes | None:
        """See `Engine.get`."""
        return _packed(await self._ask(b"GET", self._keys + key.encode()))

    async def set(self, key: str, value: bytes, ttl: float | None, if_absent: bool) -> bool:
        """See `Engine.set`."""
        arguments = (_stored(value), _milliseconds(ttl), int(if_absent))
        return bool(await self._run(scripts.SET, self._keys + key.encode(), *arguments))

    async def delete(self, key: str) -> bool:
        """See `Engine.delete`."""
        return bool(await self._run(scripts.DELETE, self._keys + key.encode()))

    async def incr(self, key: str, by: int, ttl: float | None) -> int:
        """See `Engine.incr`."""
        try:
            return int(await self._run(scripts.INCR, self._keys + key.encode(), by, _milliseconds(ttl)))
        except RefusedError as error:
            text = str(error.__cause__)
            if "would overflow" not in text and "not an integer" not in text:
                raise
        return await self._incr_by_hand(key, by, ttl)

    async def _incr_by_hand(self, key: str, by: int, ttl: float | None) -> int:
        """Adds to a value that Redis can't add to: it is no int, or has 64 bits without a sign, or the sum has more."""
        while (packed := await self.get(key)) is not None:
            value = msgpack.unpackb(packed, strict_map_key=False) if len(packed) <= 9 else None
            if type(value) is not int:
                raise TypeError(f"the value of {key!r} is no int, so nothing can be added to it")
            if not -_LARGEST - 1 <= (total := value + by) <= _LARGEST:
                raise OverflowError(f"{key!r} would be {total}, which has more than 64 bits; it has not changed")
            if await self.replace(key, packed, msgpack.packb(total)):
                return total
        return await self.incr(key, by, ttl)

    async def replace(self, key: str, expected: bytes, value: bytes) -> bool:
        """See `Engine.replace`."""
        return bool(await self._run(scripts.REPLACE, self._keys + key.encode(), _stored(expected), _stored(value)))

    async def get_many(self, keys: list[str]) -> list[bytes | None]:
        """See `Engine.get_many`. Of a Redis Cluster it reads each key by itself, all at once."""
        names = [self._keys + key.encode() for key in keys]
        if self._url.kind == "cluster":
            found = await asyncio.gather(*(self._ask(b"GET", name) for name in names))
        else:
            found = await self._ask(b"MGET", *names) if names else []
        return [_packed(value) for value in found]

    async def keys(self, prefix: str) -> list[str]:
        """See `Engine.keys`."""
        skip = len(self._keys)
        found = await self._line.scan(_pattern(self._keys + prefix.encode()))
        return [name[skip:].decode(errors="replace") for name in found]

    async def _ttls(self, keys: Sequence[str]) -> Sequence[int]:
        ttls: list[int] = await asyncio.gather(*(self._ask(b"PTTL", self._keys + key.encode()) for key in keys))
        return ttls

    # ---- locks. With the same owner each of these may be done twice, so they are tried again.

    async def acquire(self, name: str, owner: str, ttl: float) -> int | None:
        """See `Engine.acquire`."""
        lock = self._locks + name.encode()
        token = int(await self._run_again(scripts.ACQUIRE, lock, owner, _milliseconds(ttl)))
        if token > 0:
            return token
        if lock in self._waiting:
            if (timer := self._timers.get(lock)) is not None:
                timer.cancel()
            loop = asyncio.get_running_loop()
            self._timers[lock] = loop.call_later((1 - token) / 1000, self._may_be_free, lock)
        return None

    async def renew(self, name: str, owner: str, ttl: float) -> bool:
        """See `Engine.renew`."""
        return bool(await self._run_again(scripts.RENEW, self._locks + name.encode(), owner, _milliseconds(ttl)))

    async def release(self, name: str, owner: str) -> bool:
        """See `Engine.release`. If the connection breaks meanwhile, it may return False though it was held."""
        return bool(await self._run_again(scripts.RELEASE, self._locks + name.encode(), owner))

    @asynccontextmanager
    async def watch_lock(self, name: str) -> AsyncIterator[asyncio.Event]:
        """See `Engine.watch_lock`."""
        lock = self._locks + name.encode()
        may_be_free = asyncio.Event()
        subscriber = self._subscriber
        self._waiting.setdefault(lock, []).append(may_be_free)
        try:
            await subscriber.subscribe(lock)
            try:
                yield may_be_free
            finally:
                subscriber.unsubscribe(lock)
        finally:
            _remove(self._waiting, lock, may_be_free)
            if lock not in self._waiting and (timer := self._timers.pop(lock, None)) is not None:
                timer.cancel()

    def _may_be_free(self, lock: bytes) -> None:
        if (timer := self._timers.pop(lock, None)) is not None:
            timer.cancel()
        for may_be_free in self._waiting.get(lock, ()):
            may_be_free.set()

    # ---- watching

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[Changed]]:
        """See `Engine.watch`. It looks at the times to live of all keys under the prefix before it begins."""
        pattern = _pattern(self._keys + prefix.encode())
        subscriber = self._subscriber
        watcher = Watcher(self._ttls)
        self._watchers.setdefault(pattern, []).append(watcher)
        try:
            await subscriber.subscribe(pattern, is_pattern=True)
            try:
                await watcher.begin(await self.keys(prefix))
                expiry = asyncio.create_task(watcher.expire(), name="aiocluster state expiry")
                try:
                    yield watcher
                finally:
                    expiry.cancel()
                    await asyncio.wait([expiry])
            finally:
                subscriber.unsubscribe(pattern, is_pattern=True)
        finally:
            _remove(self._watchers, pattern, watcher)

    def _hear(self, channel: bytes, payload: bytes, pattern: bytes | None) -> None:
        if pattern is None:
            self._may_be_free(channel)
            return
        try:
            key = channel[len(self._keys) :].decode()
            ttl, _, value = payload.partition(b" ")
            change = (key, _packed(value), int(ttl)) if payload else (key, None, 0)
        except ValueError:
            return  # not published by these scripts
        for watcher in self._watchers.get(pattern, ()):
            watcher.put(*change)

    def _change(self, error: BackplaneError | None) -> None:
        """The connection that hears has broken, or is there again."""
        for lock in list(self._waiting):
            self._may_be_free(lock)
        if error is not None:
            for watcher in [one for some in self._watchers.values() for one in some]:
                watcher.fail(BackplaneError(f"changes may have been missed: {error}"))

    async def catch_up(self) -> None:
        """See `Engine.catch_up`. Of a Redis Cluster another node may still have to pass on what it has published."""
        if self._watchers:
            await self._subscriber.catch_up()

    # ---- the connection

    async def _ask(self, *command: Argument) -> Any:
        """Asks what changes nothing, again if the connection breaks."""
        try:
            return await self._line.call(*command)
        except LostError as error:
            if not error.was_sent:
                raise
        return await self._line.call(*command)

    async def _run(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        return await script.run(self._line, key, *arguments)

    async def _run_again(self, script: Script, key: bytes, *arguments: Argument) -> Any:
        try:
            return await script.run(self._line, key, *arguments)
        except LostError as error:
            if not error.was_sent:
                raise
        return await script.run(self._line, key, *arguments)

    def abandon(self) -> None:
        """See `Engine.abandon`."""
        self._line.abandon()
        self._subscriber.abandon()

    async def close(self) -> None:
        """Closes the connections. The loop must be running this."""
        for timer in self._timers.values():
            timer.cancel()
        await self._line.close()
        await self._subscriber.close()


def _remove(table: dict[bytes, list[Any]], name: bytes, one: object) -> None:
    if one in (some := table.get(name, [])):
        some.remove(one)
        if not some:
            del table[name]


def _pattern(prefix: bytes) -> bytes:
    """Redis's pattern for all names with that beginning."""
    for character in (b"\\", b"*", b"?", b"[", b"]"):
        prefix = prefix.replace(character, b"\\" + character)
    return prefix + b"*"


def _milliseconds(seconds: float | None) -> int:
    return 0 if seconds is None else min(max(1, math.ceil(seconds * 1000)), _LONGEST)


def _stored(packed: bytes) -> bytes:
    """From msgpack to what Redis keeps: an int as its digits."""
    first = packed[0]
    if 0x80 <= first < 0xCC or 0xD3 < first < 0xE0:
        return packed
    value = msgpack.unpackb(packed)
    return b"%d" % value if value <= _LARGEST else packed


def _packed(stored: bytes | None) -> bytes | None:
    """From what Redis keeps to msgpack."""
    if not stored or stored[0] not in _DIGITS:
        return stored
    packed: bytes = msgpack.packb(int(stored))
    return packed
