"""`State.lock`: a lease that is renewed while it is held."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .._no_constructor import NoConstructor
from ..errors import ClusterError
from .engine import Engine

logger = logging.getLogger("aiocluster.state")

_LOOK_AGAIN = 5.0  # seconds after which whoever waits for a lock watches it anew: the connection may be another one
_RETRIES = 0.1  # of the ttl, until a renewal that failed is tried again


class _Lost(asyncio.Event):
    """Is set as soon as the lease's time has passed, even if the loop had no turn to say so."""

    def __init__(self) -> None:
        super().__init__()
        self.deadline = float("inf")

    def is_set(self) -> bool:
        if time.monotonic() >= self.deadline and not super().is_set():
            self.set()
        return super().is_set()


class Lease(metaclass=NoConstructor, made_by="State.lock()"):
    """A lock that is held.

    Attributes:
        name: The lock's name.
        token: The fencing token: larger for each new owner of this lock.
        lost: Set when another process may hold the lock: it could not be renewed in time, or was not ours any more.
    """

    def __init__(self, name: str, token: int, deadline: float) -> None:
        self.name = name
        self.token = token
        self._lost = _Lost()
        self._lost.deadline = deadline
        self.lost: asyncio.Event = self._lost

    def __repr__(self) -> str:
        return f"<Lease of {self.name!r}, token {self.token}{', lost' if self.lost.is_set() else ''}>"


class Locks:
    """The locks of this process.

    Args:
        engine: Knows who holds which lock.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._releases: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def lock(self, name: str, ttl: float, timeout: float | None) -> AsyncIterator[Lease]:
        """See `State.lock`."""
        owner = os.urandom(16).hex()
        lease = await self._acquire(name, owner, ttl, timeout)
        renewal = asyncio.get_running_loop().create_task(self._renew(lease, owner, ttl))
        try:
            yield lease
        finally:
            lease._lost.deadline = float("inf")  # whoever still has the object has let go of the lock
            renewal.cancel()
            release = self._release(name, owner, ttl)
            await asyncio.wait([renewal, release])

    async def _acquire(self, name: str, owner: str, ttl: float, timeout: float | None) -> Lease:
        try:
            if (lease := await self._try(name, owner, ttl)) is not None:
                return lease
            limit = asyncio.timeout(timeout)
            try:
                async with limit:
                    while (lease := await self._wait(name, owner, ttl)) is None:
                        pass
                    return lease
            except TimeoutError:
                if not limit.expired():
                    raise
                raise TimeoutError(f"the lock {name!r} was held by others for {timeout:g} seconds (timeout)") from None
        except BaseException:  # what was under way may have acquired it
            _ = self._release(name, owner, ttl)
            raise

    async def _try(self, name: str, owner: str, ttl: float) -> Lease | None:
        deadline = time.monotonic() + ttl
        token = await self._engine.acquire(name, owner, ttl)
        return None if token is None else Lease._create(name, token, deadline)

    async def _wait(self, name: str, owner: str, ttl: float) -> Lease | None:
        """Tries each time when the lock may be free. Returns None after a while in which nothing was heard of it."""
        async with self._engine.watch_lock(name) as may_be_free:
            while True:
                may_be_free.clear()
                if (lease := await self._try(name, owner, ttl)) is not None:
                    return lease
                limit = asyncio.timeout(_LOOK_AGAIN)
                try:
                    async with limit:
                        await may_be_free.wait()
                except TimeoutError:
                    if not limit.expired():
                        raise
                    return None

    async def _renew(self, lease: Lease, owner: str, ttl: float) -> None:
        """Renews the lease until it is lost."""
        lost = lease._lost
        pause = ttl / 3
        try:
            async with asyncio.timeout(None) as limit:
                loop = asyncio.get_running_loop()
                while True:
                    limit.reschedule(loop.time() + lost.deadline - time.monotonic())
                    await asyncio.sleep(pause)
                    before = time.monotonic()
                    try:
                        if not await self._engine.renew(lease.name, owner, ttl):
                            break
                    except (ClusterError, OSError) as error:
                        logger.warning("the lock %r could not be renewed: %s", lease.name, error)
                        pause = ttl * _RETRIES
                    else:
                        if lost.is_set():
                            break
                        lost.deadline = before + ttl
                        pause = ttl / 3
        except TimeoutError:
            pass
        lost.set()
        logger.warning("the lock %r is lost: another process may hold it", lease.name)

    def _release(self, name: str, owner: str, ttl: float) -> asyncio.Task[None]:
        """Lets go of a lock, in a task that `close` awaits."""
        task = asyncio.get_running_loop().create_task(self._let_go(name, owner, ttl))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)
        return task

    async def _let_go(self, name: str, owner: str, ttl: float) -> None:
        try:
            async with asyncio.timeout(ttl):  # then it has expired
                await self._engine.release(name, owner)
        except (TimeoutError, ClusterError, OSError):
            pass

    async def close(self) -> None:
        """Returns when all locks that this process has let go of are free."""
        pending: set[asyncio.Task[Any]] = set(self._releases)
        if pending:
            await asyncio.wait(pending)
