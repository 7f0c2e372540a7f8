"""Channels of one Redis, heard over one connection, which is made anew whenever it breaks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import redis.exceptions as theirs
from redis.asyncio.connection import AbstractConnection
from redis.backoff import ExponentialWithJitterBackoff

from ..errors import BackplaneError
from .connect import abandon, connect, timeout_of
from .failure import REFUSALS, closed, failure, lost
from .url import RedisUrl

_BACKOFF = ExponentialWithJitterBackoff(cap=5.0, base=0.1)


class _Channel:
    """What is wanted of one channel or pattern.

    Attributes:
        name: Its name, or the pattern.
        is_pattern: Whether it is a pattern.
        wanted_by: How many have subscribed and not unsubscribed.
        was_heard: Whether it has been heard once.
        heard: Done when it is heard over the present connection, or the next one.
    """

    __slots__ = ("heard", "is_pattern", "name", "wanted_by", "was_heard")

    def __init__(self, name: bytes, is_pattern: bool) -> None:
        self.name = name
        self.is_pattern = is_pattern
        self.wanted_by = 0
        self.was_heard = False
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, error: BackplaneError) -> None:
        """It is not heard: tells those who wait. What is heard next, later ones can wait for."""
        if not self.heard.done():
            self.heard.set_exception(error)
            self.heard.exception()  # as told, if all who waited for it were cancelled
        self.heard = asyncio.get_running_loop().create_future()

    def command(self, what: bytes) -> tuple[bytes, bytes]:
        return (b"P" + what if self.is_pattern else what, self.name)


class Subscriber:
    """Hears channels, and patterns of channels, from one event loop.

    It connects with its first channel. When the connection breaks it makes another, waiting longer after each failure
    (at most 5 s), and subscribes again. A server that is silent for ``socket_timeout`` is asked whether it is there.

    Args:
        url: Where it is. Of a Redis Cluster it is any of the nodes, for each of them passes on what is published.
        hear: Called with the channel and the payload of each message, and the pattern by which it was heard or None.
        change: Called with None when all channels are subscribed to after a connection has been made, and with the
            error when it has broken or the first one can't be made. What is published in between is not heard.
    """

    def __init__(
        self,
        url: RedisUrl,
        hear: Callable[[bytes, bytes, bytes | None], None],
        change: Callable[[BackplaneError | None], None],
    ) -> None:
        self._url = url
        self._timeout = timeout_of(url)
        self._hear = hear
        self._change = change
        self._channels: dict[tuple[bytes, bool], _Channel] = {}
        self._commands: list[tuple[bytes, ...]] = []  # not sent yet
        self._asked: deque[_Channel | None] = deque()  # for each command sent or not, whose reply is to come
        self._wake: asyncio.Future[None] | None = None  # what the writer waits for
        self._owner: asyncio.Task[None] | None = None  # of connections
        self._connection: AbstractConnection | None = None
        self._is_up: bool | None = None  # as told to `change`
        self._replies = 0  # of all kinds
        self._is_closed = False

    async def subscribe(self, name: bytes, *, is_pattern: bool = False, insists: bool = False) -> None:
        """Returns when that channel is heard. Each call needs one of `unsubscribe`, unless it raises.

        Args:
            name: A channel, or a pattern with Redis's ``*``, ``?`` and ``[…]``.
            is_pattern: Whether it is a pattern.
            insists: Whether it waits until there is a connection.

        Raises:
            BackplaneError: The server refuses it. Or there is no connection, and it does not insist.
        """
        if self._is_closed:
            raise closed(self._url)
        if (channel := self._channels.get((name, is_pattern))) is None:
            channel = self._channels[name, is_pattern] = _Channel(name, is_pattern)
            if self._connection is not None:
                self._send(channel.command(b"SUBSCRIBE"), channel)
            elif self._owner is None:
                self._owner = asyncio.create_task(self._own(), name="aiocluster redis subscriber")
        channel.wanted_by += 1
        try:
            while True:
                try:
                    return await asyncio.shield(channel.heard)
                except BackplaneError:
                    if not insists or self._channels.get((name, is_pattern)) is not channel:
                        raise
        except BaseException:  # a cancellation, too
            self._release(channel)
            raise

    def unsubscribe(self, name: bytes, *, is_pattern: bool = False) -> None:
        """Takes back one call of `subscribe`."""
        if (channel := self._channels.get((name, is_pattern))) is not None:
            self._release(channel)

    def _release(self, channel: _Channel) -> None:
        channel.wanted_by -= 1
        if not channel.wanted_by and self._channels.get((channel.name, channel.is_pattern)) is channel:
            del self._channels[channel.name, channel.is_pattern]
            if self._connection is not None:
                self._send(channel.command(b"UNSUBSCRIBE"), None)

    async def catch_up(self) -> None:
        """Returns when all has been heard that was published before this was called.

        Raises:
            BackplaneError: There is no connection, or it breaks meanwhile.
        """
        if self._connection is None:
            raise lost(self._url, "it is not there", was_sent=False)
        mark = _Channel(b"", False)
        self._send((b"PING",), mark)
        await asyncio.shield(mark.heard)

    async def close(self) -> None:
        """Closes the connection. Nothing is heard from then on."""
        self._is_closed = True
        if (owner := self._owner) is not None:
            owner.cancel()
            await asyncio.wait([owner])
            self._end()  # it may never have begun

    def abandon(self) -> None:
        """Closes the copy of the connection in a forked child of the process. Touches no event loop."""
        if self._connection is not None:
            abandon(self._connection)

    # ---- the connection

    def _send(self, command: tuple[bytes, ...], channel: _Channel | None) -> None:
        self._commands.append(command)
        self._asked.append(channel)
        if (wake := self._wake) is not None:
            self._wake = None
            wake.set_result(None)

    async def _own(self) -> None:
        failures = 0
        try:
            while self._channels:
                try:
                    connection = await connect(self._url)
                    error = await self._use(connection)
                    failures = 1 if self._is_up else failures + 1
                except BackplaneError as failed:
                    error = failed
                    failures += 1
                if error is not None:
                    self._is_down(error)
                    await asyncio.sleep(_BACKOFF.compute(failures))
        finally:
            self._end()

    def _end(self) -> None:
        self._owner = None
        for channel in self._channels.values():
            channel.fail(closed(self._url))
        self._channels.clear()

    def _is_down(self, error: BackplaneError) -> None:
        for channel in self._channels.values():
            channel.fail(error)
        if self._is_up is not False:
            self._is_up = False
            self._change(error)

    async def _use(self, connection: AbstractConnection) -> BackplaneError | None:
        """Returns why the connection has broken, or None if there was nothing to hear any more."""
        self._connection = connection
        for channel in self._channels.values():
            self._send(channel.command(b"SUBSCRIBE"), channel)
        reader = asyncio.create_task(self._read(connection, len(self._asked)), name="aiocluster redis reader")
        writer = asyncio.create_task(self._write(connection), name="aiocluster redis writer")
        error: BackplaneError | None = None
        try:
            while True:
                replies, was_asked = self._replies, bool(self._asked)
                ended, _ = await asyncio.wait(
                    (reader, writer), timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
                )
                if ended:
                    why = ended.pop().exception()
                    assert isinstance(why, Exception)
                    error = failure(self._url, why)
                    return error
                if replies == self._replies:
                    if was_asked:
                        error = failure(self._url, TimeoutError(f"nothing was heard for {self._timeout:g} s"))
                        return error
                    if not self._channels:
                        return None
                    self._send((b"PING",), None)
        finally:
            self._connection = None
            self._wake = None
            self._commands.clear()
            why = error or closed(self._url)
            for asked in self._asked:
                if asked is not None and self._channels.get((asked.name, asked.is_pattern)) is not asked:
                    asked.fail(why)
            self._asked.clear()
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            with suppress(theirs.RedisError, OSError):
                await connection.disconnect(nowait=True)

    async def _write(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._commands:
                self._wake = loop.create_future()
                await self._wake
            commands, self._commands = self._commands, []
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _read(self, connection: AbstractConnection, first: int) -> None:
        """Reads messages, and the replies to the commands, the first of which make all channels heard."""
        while True:
            try:
                reply = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except REFUSALS as error:
                if not self._asked:
                    raise
                if (channel := self._asked.popleft()) is not None:
                    if channel.was_heard:
                        raise
                    self._refuse(channel, failure(self._url, error))
                first -= 1
            else:
                kind = reply[0]
                if kind == b"message":
                    self._hear(reply[1], reply[2], None)
                elif kind == b"pmessage":
                    self._hear(reply[2], reply[3], reply[1])
                else:
                    channel = self._asked.popleft()
                    if channel is not None and not channel.heard.done():
                        channel.was_heard = True
                        channel.heard.set_result(None)
                    first -= 1
            self._replies += 1
            if first == 0 and not self._is_up:
                self._is_up = True
                self._change(None)

    def _refuse(self, channel: _Channel, error: BackplaneError) -> None:
        if self._channels.get((channel.name, channel.is_pattern)) is channel:
            del self._channels[channel.name, channel.is_pattern]
        channel.fail(error)
