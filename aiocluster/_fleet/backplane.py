"""A fleet's connections to Redis: one publishes, the other is subscribed. Both are made again when one breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

import redis.exceptions as theirs
from redis.asyncio.connection import AbstractConnection

from .._redis.connect import connect, timeout_of
from .._redis.failure import failure
from .._redis.url import RedisUrl
from ..errors import BackplaneError

logger = logging.getLogger("aiocluster.fleet")

_BACKOFF = (0.05, 1.0)
"""Seconds before the first attempt to connect again, and at most before each; in between twice as long each time."""


class Listener(Protocol):
    """Who is told what happens at a backplane."""

    def connected(self) -> None:
        """There are connections, and all channels are subscribed to."""
        ...

    def disconnected(self, error: BackplaneError) -> None:
        """There are none any more."""
        ...

    def heard(self, channel: str, data: bytes) -> None:
        """Something has been published on a channel."""
        ...


class Backplane:
    """Publishes on channels of a Redis, and hears others. What is published while there is no connection is lost.

    Args:
        url: The Redis.
        patience: Seconds that a later connection may take, if the URL does not say fewer. The first one has as long as
            the URL says.
        listener: Is told what happens.
        channels: Channels to hear from the beginning.

    Attributes:
        is_up: Whether there are connections.
        waiting: Bytes that are to be published and have not been acknowledged by Redis.
    """

    def __init__(self, url: RedisUrl, patience: float, listener: Listener, channels: Iterable[str]) -> None:
        self.url = url
        self._quick = within(url, patience)
        self.is_up: bool = False
        self.waiting: int = 0
        self._listener = listener
        self._channels: set[str] = set(channels)  # that are wanted
        self._changed: dict[str, None] = {}  # channels whose subscription is to be changed
        self._unconfirmed: dict[str, int] = {}
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._outbox: list[tuple[str, str, bytes]] = []
        self._has_some = asyncio.Event()
        self._has_changed = asyncio.Event()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._broken: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Connects.

        Raises:
            BackplaneError: There is no connection to be had.
        """
        self._task = asyncio.get_running_loop().create_task(self._run())
        await asyncio.shield(self._first)

    async def end(self) -> None:
        """Publishes what waits, for a second at most, and closes the connections."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self.is_up and self.waiting:
                    await asyncio.sleep(0.01)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._release_all()

    # ---- channels

    def publish(self, channel: str, data: bytes) -> None:
        """Publishes this. All that one turn of the loop brings leaves together. Does nothing without a connection."""
        if self.is_up:
            self._outbox.append(("PUBLISH", channel, data))
            self.waiting += len(data)
            self._has_some.set()

    def subscribe(self, channel: str) -> asyncio.Future[None]:
        """Hears this channel from now on. Done when Redis has confirmed it, or if there is no connection."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if channel not in self._channels:
            self._channels.add(channel)
            self._change(channel)
        if not self.is_up or not (channel in self._changed or self._unconfirmed.get(channel)):
            done.set_result(None)
        else:
            self._waiters.setdefault(channel, []).append(done)
        return done

    def unsubscribe(self, channel: str) -> None:
        """Hears this channel no longer."""
        self._channels.discard(channel)
        self._change(channel)
        self._release(channel)

    def _change(self, channel: str) -> None:
        if self.is_up:
            self._changed[channel] = None
            self._has_changed.set()

    def _release(self, channel: str) -> None:
        for waiter in self._waiters.pop(channel, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _release_all(self) -> None:
        for channel in list(self._waiters):
            self._release(channel)

    # ---- connections

    def give_up(self, why: str) -> None:
        """Closes the connections, which seem to be dead, and makes others."""
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(failure(self.url, TimeoutError(why)))

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._serve()
            except BackplaneError as error:
                failures = 0 if self.is_up else failures + 1
                self._down(error)
            shortest, longest = _BACKOFF
            await asyncio.sleep(min(longest, shortest * 2 ** min(failures, 16)) * random.uniform(0.5, 1.0))

    async def _serve(self) -> None:
        """Connects, and serves until a connection breaks, which raises `BackplaneError`."""
        async with contextlib.AsyncExitStack() as undo:
            publishing = await self._connect(undo)
            listening = await self._connect(undo)
            self._changed = dict.fromkeys(self._channels)
            self._unconfirmed.clear()
            await self._tell_changes(listening)
            while self._unconfirmed:
                await self._hear(listening)
            self._broken = asyncio.get_running_loop().create_future()
            self.is_up = True
            if not self._first.done():
                self._first.set_result(None)
            self._listener.connected()
            work: list[Coroutine[Any, Any, None]] = [
                self._publish(publishing),
                self._listen(listening),
                self._change_channels(listening),
            ]
            tasks = {asyncio.ensure_future(one) for one in work}
            undo.push_async_callback(_cancel, tasks)
            done, _ = await asyncio.wait({*tasks, self._broken}, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()  # raises

    async def _connect(self, undo: contextlib.AsyncExitStack) -> AbstractConnection:
        connection = await connect(self._quick if self._first.done() else self.url)
        undo.push_async_callback(connection.disconnect, nowait=True)
        return connection

    def _down(self, error: BackplaneError) -> None:
        self._outbox.clear()
        self.waiting = 0
        self._broken = None
        self._release_all()
        if self.is_up:
            self.is_up = False
            self._listener.disconnected(error)
        elif not self._first.done():
            self._first.set_exception(error)
            self._first.exception()  # it is retrieved: `begin` may have been cancelled

    async def _publish(self, connection: AbstractConnection) -> None:
        with self._told():
            while True:
                await self._has_some.wait()
                self._has_some.clear()
                letters, self._outbox = self._outbox, []
                await connection.send_packed_command(connection.pack_commands(letters), check_health=False)
                for _, _, data in letters:
                    await connection.read_response()
                    self.waiting -= len(data)

    async def _listen(self, connection: AbstractConnection) -> None:
        with self._told():
            while True:
                await self._hear(connection)

    async def _hear(self, connection: AbstractConnection) -> None:
        """Reads one message, or one confirmation."""
        with self._told():
            reply = await connection.read_response(disable_decoding=True, timeout=math.inf)
        kind, channel = reply[0], reply[1].decode("utf-8", "surrogateescape")
        if kind == b"message":
            try:
                self._listener.heard(channel, reply[2])
            except Exception:
                logger.exception("a message on %s could not be handled", channel)
        elif kind == b"subscribe":
            left = self._unconfirmed.pop(channel, 0) - 1
            if left > 0:
                self._unconfirmed[channel] = left
            else:
                self._release(channel)

    async def _change_channels(self, connection: AbstractConnection) -> None:
        while True:
            await self._has_changed.wait()
            await self._tell_changes(connection)

    async def _tell_changes(self, connection: AbstractConnection) -> None:
        self._has_changed.clear()
        changed, self._changed = self._changed, {}
        on = [channel for channel in changed if channel in self._channels]
        off = [channel for channel in changed if channel not in self._channels]
        for channel in on:
            self._unconfirmed[channel] = self._unconfirmed.get(channel, 0) + 1
        commands = [command for command in (("SUBSCRIBE", *on), ("UNSUBSCRIBE", *off)) if len(command) > 1]
        if commands:
            with self._told():
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turns redis-py's exceptions into `BackplaneError`."""
        try:
            yield
        except (theirs.RedisError, OSError, asyncio.IncompleteReadError) as error:
            raise failure(self.url, error) from None


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def within(url: RedisUrl, seconds: float) -> RedisUrl:
    """That URL with so many seconds as its ``socket_timeout``, or the fewer that it says itself."""
    most = min(timeout_of(url), seconds)
    return replace(url, options=MappingProxyType({**url.options, "socket_timeout": str(most)}))
