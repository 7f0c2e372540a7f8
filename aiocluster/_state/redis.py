"""The state in a Redis, to which each process speaks directly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager

from .._redis.url import parse
from ..errors import ChannelClosedError
from .engine import Changed
from .redis_client import RedisClient

_PATIENCE = 1.0  # seconds that another thread's loop may take to close its connections


class RedisEngine:
    """An `Engine` in a Redis.

    Each event loop of the process has connections of its own. They end with the loop's tasks.

    Args:
        url: The URL of a Redis.

    Raises:
        BackplaneError: It is none.
    """

    def __init__(self, url: str) -> None:
        self._url = parse(url)
        self._clients: dict[asyncio.AbstractEventLoop, RedisClient] = {}
        self._last: tuple[asyncio.AbstractEventLoop, RedisClient] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<RedisEngine {self._url}>"

    def _here(self) -> RedisClient:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        if self._last is not None and self._last[0] is loop:
            return self._last[1]
        if self._is_closed:
            raise ChannelClosedError("the state is closed, because the cluster has stopped")
        if (client := self._clients.get(loop)) is None:
            self._clients = {one: known for one, known in self._clients.items() if not one.is_closed()}
            client = self._clients[loop] = RedisClient(self._url)
        self._last = loop, client
        return client

    def get(self, key: str) -> Awaitable[bytes | None]:
        """See `Engine.get`."""
        return self._here().get(key)

    def set(self, key: str, value: bytes, ttl: float | None, if_absent: bool) -> Awaitable[bool]:
        """See `Engine.set`."""
        return self._here().set(key, value, ttl, if_absent)

    def delete(self, key: str) -> Awaitable[bool]:
        """See `Engine.delete`."""
        return self._here().delete(key)

    def incr(self, key: str, by: int, ttl: float | None) -> Awaitable[int]:
        """See `Engine.incr`."""
        return self._here().incr(key, by, ttl)

    def replace(self, key: str, expected: bytes, value: bytes) -> Awaitable[bool]:
        """See `Engine.replace`."""
        return self._here().replace(key, expected, value)

    def get_many(self, keys: list[str]) -> Awaitable[list[bytes | None]]:
        """See `Engine.get_many`."""
        return self._here().get_many(keys)

    def keys(self, prefix: str) -> Awaitable[list[str]]:
        """See `Engine.keys`."""
        return self._here().keys(prefix)

    def acquire(self, name: str, owner: str, ttl: float) -> Awaitable[int | None]:
        """See `Engine.acquire`."""
        return self._here().acquire(name, owner, ttl)

    def renew(self, name: str, owner: str, ttl: float) -> Awaitable[bool]:
        """See `Engine.renew`."""
        return self._here().renew(name, owner, ttl)

    def release(self, name: str, owner: str) -> Awaitable[bool]:
        """See `Engine.release`."""
        return self._here().release(name, owner)

    def watch(self, prefix: str) -> AbstractAsyncContextManager[AsyncIterator[Changed]]:
        """See `Engine.watch`."""
        return self._here().watch(prefix)

    def watch_lock(self, name: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """See `Engine.watch_lock`."""
        return self._here().watch_lock(name)

    async def catch_up(self) -> None:
        """See `Engine.catch_up`."""
        await self._here().catch_up()

    async def reach(self) -> None:
        """See `Engine.reach`."""
        await self._here().reach()

    def abandon(self) -> None:
        """See `Engine.abandon`."""
        self._is_closed, self._last = True, None
        for client in self._clients.values():
            client.abandon()
        self._clients.clear()

    async def close(self) -> None:
        """See `Engine.close`."""
        self._is_closed, self._last = True, None
        clients, self._clients = self._clients, {}
        if (client := clients.pop(asyncio.get_running_loop(), None)) is not None:
            await client.close()
        elsewhere = [
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.close(), loop))
            for loop, client in clients.items()
            if loop.is_running()
        ]
        if elsewhere:
            await asyncio.wait(elsewhere, timeout=_PATIENCE)
