"""Commands to one Redis, over one connection.

    call ─┐
    call ─┼▶ what one turn of the loop brought ─▶ one write ──▶ Redis ──▶ replies, in the same order ─▶ futures
    call ─┘

A pool, as redis-py has, takes a connection and a write for each command that waits; here a hundred tasks share one
write. Somebody always reads, so a connection that ends at rest is known at once, and the next command makes another.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

import redis.exceptions as theirs
from redis.asyncio.connection import AbstractConnection, SSLConnection

from ..errors import BackplaneError
from .connect import abandon, connect, socket_of, timeout_of
from .failure import REFUSALS, LostError, closed, failure, lost
from .url import RedisUrl

_TRIES = 3

Argument: TypeAlias = bytes | str | int
Reply: TypeAlias = "asyncio.Future[Any]"


class Commands(Protocol):
    """What a `Line` does, and a `ClusterLine` for a Redis Cluster."""

    def call(self, *command: Argument) -> Awaitable[Any]:
        """Sends a command. See `Line.call`."""
        ...

    async def scan(self, pattern: bytes) -> list[bytes]:
        """Returns the names of all keys that match, each once. It looks at all keys that there are."""
        ...

    def abandon(self) -> None:
        """Closes the copies of connections in a forked child of the process. Touches no event loop."""
        ...

    async def close(self) -> None:
        """Closes all connections. Commands without a reply fail, and so do later ones."""
        ...


class Line:
    """Sends commands to one Redis from one event loop, and connects when there is something to send.

    Args:
        url: Where it is: one server, or the master that Sentinel knows.
    """

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._timeout = timeout_of(url)
        self._waiting: list[tuple[tuple[Argument, ...], Reply]] = []  # not sent yet
        self._sent: deque[Reply] = deque()  # those whose replies are to come
        self._answered = 0
        self._connection: AbstractConnection | None = None
        self._owner: asyncio.Task[None] | None = None  # of a connection, from before it is made until it has ended
        self._wake: asyncio.Future[None] | None = None  # what the writer waits for
        self._alarm: asyncio.TimerHandle | None = None  # only while a reply is due, so that a loop at rest sleeps
        self._silence: asyncio.Future[None] | None = None  # has an exception once no reply has come for too long
        self._is_closed = False

    def call(self, *command: Argument) -> Reply:
        """Sends a command, together with the others of this turn of the loop.

        Returns:
            A future of the reply, with bytes for strings. It raises `RefusedError` if the server answers with an
            error, and `LostError` if there is no connection, or it breaks before the reply: after ``socket_timeout`` in
            which no reply came, or twice that at most. Cancelling it takes back what has not been sent yet.
        """
        reply: Reply = asyncio.get_running_loop().create_future()
        if self._is_closed:
            reply.set_exception(closed(self._url))
            return reply
        self._waiting.append((command, reply))
        if self._owner is None:
            self._owner = asyncio.create_task(self._own(), name="aiocluster redis")
        elif (wake := self._wake) is not None:
            self._wake = None
            wake.set_result(None)
        return reply

    async def scan(self, pattern: bytes) -> list[bytes]:
        """Returns the names of all keys that match, each once. It looks at all keys that there are.

        Raises:
            RefusedError: The server does not permit it.
            LostError: There is no reply, or several times none.
        """
        found: dict[bytes, None] = {}
        cursor = b"0"
        tries = _TRIES
        while True:
            try:
                cursor, names = await self.call(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", 1000)
            except LostError as error:  # a cursor belongs to no connection
                tries -= 1
                if not tries or not error.was_sent:
                    raise
                continue
            found.update(dict.fromkeys(names))
            if cursor == b"0":
                return list(found)

    async def close(self) -> None:
        """Closes the connection. Commands without a reply fail, and so do later ones."""
        self._is_closed = True
        if (owner := self._owner) is not None:
            owner.cancel()
            await asyncio.wait([owner])
            self._end()  # it may never have begun

    def abandon(self) -> None:
        """Closes the copy of the connection in a forked child of the process. Touches no event loop."""
        if self._connection is not None:
            abandon(self._connection)

    async def _own(self) -> None:
        """Has a connection, and another one if it breaks before everything was sent."""
        try:
            while self._waiting:
                try:
                    connection = await connect(self._url)
                except BackplaneError as error:
                    for _, reply in self._taken():
                        if not reply.done():
                            reply.set_exception(_copy(error))
                    return
                await self._use(connection)
        finally:
            self._end()

    def _end(self) -> None:
        self._owner = None
        for _, reply in self._taken():
            if not reply.done():
                reply.set_exception(closed(self._url))

    def _taken(self) -> list[tuple[tuple[Argument, ...], Reply]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    async def _use(self, connection: AbstractConnection) -> None:
        """Sends and reads until the connection breaks, or this is cancelled."""
        reader = asyncio.create_task(self._read(connection), name="aiocluster redis reader")
        writer = asyncio.create_task(self._write(connection), name="aiocluster redis writer")
        self._silence = asyncio.get_running_loop().create_future()
        self._connection = connection
        why: str | None = None
        try:
            ended, _ = await asyncio.wait((reader, writer, self._silence), return_when=asyncio.FIRST_COMPLETED)
            why = "; ".join(" ".join(str(error).split()) for one in ended if (error := one.exception()))
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = self._wake = self._silence = None
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            self._connection = None
            with suppress(theirs.RedisError, OSError):
                await connection.disconnect(nowait=True)
            while self._sent:
                if not (reply := self._sent.popleft()).done():
                    reply.set_exception(
                        closed(self._url, was_sent=True) if why is None else lost(self._url, why, was_sent=True)
                    )

    async def _write(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        has_ended = _end_of(connection)
        while True:
            if not self._waiting:
                self._wake = loop.create_future()
                await self._wake
            if not self._sent and has_ended():
                return  # and what waits is sent over another one
            commands = []
            for command, reply in self._taken():
                if not reply.done():
                    commands.append(command)
                    self._sent.append(reply)
            if not commands:
                continue
            if self._alarm is None:
                self._set_alarm()
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        sent = self._sent
        while True:
            answer: Any
            try:
                answer = await connection.read_response(disable_decoding=True, disconnect_on_error=False)
            except REFUSALS as error:
                if not sent:
                    raise
                if not (reply := sent.popleft()).done():
                    reply.set_exception(failure(self._url, error))
                if isinstance(error, theirs.ReadOnlyError):
                    raise  # no longer the master: Sentinel or the name of the host may lead to another server now
            else:
                if not (reply := sent.popleft()).done():
                    reply.set_result(answer)
            self._answered += 1

    def _look(self, answered: int) -> None:
        """Ends the connection if replies are due and none has come since there were so many."""
        self._alarm = None
        if not self._sent or self._silence is None or self._silence.done():
            return
        if answered == self._answered:
            self._silence.set_exception(TimeoutError(f"no answer for {self._timeout:g} s"))
        else:
            self._set_alarm()

    def _set_alarm(self) -> None:
        self._alarm = asyncio.get_running_loop().call_later(self._timeout, self._look, self._answered)


def _end_of(connection: AbstractConnection) -> Callable[[], bool]:
    """Returns a function that tells whether a connection, on which nothing is due, was closed by the server.

    The reader knows as soon as the loop has looked. But a loop that was busy has not, and then nobody could say whether
    the next command was done: the kernel takes it all the same.
    """
    if (ours := socket_of(connection)) is None or isinstance(connection, SSLConnection):
        return lambda: False  # TLS has more to read than replies
    ready = select.poll()
    ready.register(ours.fileno(), select.POLLIN)
    return lambda: bool(ready.poll(0))


def _copy(error: BackplaneError) -> BackplaneError:
    """One for each who waits: an exception that several tasks raise collects all their tracebacks."""
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
