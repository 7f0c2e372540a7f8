"""`ChannelEngine`: the state in a process of its own, as one of its clients sees it.

All operations of one turn of the loop leave as one frame, and so do their results. One that is alone leaves at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from .._wire.channel import Channel
from .._wire.codec import MAX_FRAME, encode
from .._wire.frame import TakeDescriptors
from ..errors import BackplaneError, ChannelClosedError, ClusterError
from . import protocol
from .backlog import Backlog
from .engine import Changed
from .protocol import CHANGES, ERRORS, FAILURE, FREED, LARGE, MAX_BATCH, MAX_KEYS, MAX_PART, OPERATIONS, RESULTS
from .store import MAX_PAGE

_LIMIT = MAX_FRAME + 64 * 1024  # bytes of a frame: a value of the largest size, and what is around it
_AT_MOST = 4096  # operations under way; more wait in this process
_GONE = "the process that keeps the state has gone"
_MAYBE = "; what was under way may or may not have been done"

Open = Callable[[], Awaitable[socket.socket]]
"""Opens a channel to the state's process."""


class _Batch:
    """Operations that leave together. See `channel.Delayed`."""

    __slots__ = ("is_open", "operations", "size")

    def __init__(self) -> None:
        self.operations: list[list[Any]] = []
        self.size = 0
        self.is_open = True

    def render(self) -> bytes:
        self.is_open = False
        return encode(OPERATIONS, self.operations) if self.operations else b""

    def render_early(self) -> bytes:
        operations = self.operations[:]  # the loop may be adding to it
        del self.operations[: len(operations)]
        return encode(OPERATIONS, operations) if operations else b""


class _Stream:
    """What `ChannelEngine.watch` yields."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._more = asyncio.Event()
        self._is_over = False

    def put(self, change: Changed) -> None:
        self._backlog.put(change)
        self._more.set()

    def end(self) -> None:
        """No more will come."""
        self._is_over = True
        self._more.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Changed:
        while not self._backlog:
            if self._is_over:
                raise ChannelClosedError(f"{_GONE}: changes may have been missed")
            self._more.clear()
            await self._more.wait()
        return self._backlog.take()


class Connection:
    """A channel to the state's process, for one event loop.

    Attributes:
        loop: The loop, which must be running.
        channel: The channel.
    """

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.channel: Channel = Channel(sock, limit=_LIMIT)
        self._pending: deque[asyncio.Future[Any]] = deque()  # in the order of their operations
        self._batch: _Batch | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()  # those who have something to ask, and no room
        self._streams: dict[str, set[_Stream]] = {}
        self._locks: dict[str, set[asyncio.Event]] = {}
        self.channel.attach(loop, self._receive, self._on_end)

    # ---- out

    def ask(self, operation: list[Any], size: int) -> Awaitable[Any]:
        """Asks for an operation. Its result is to be awaited at once.

        Args:
            operation: The operation.
            size: How many bytes it has packed, more or less.

        Raises:
            ChannelClosedError: The state's process has gone.
        """
        if self.channel.waits_for_room or len(self._pending) >= _AT_MOST or self._waiting:
            return self._ask_later(operation, size)
        return self._ask(operation, size)

    def _ask(self, operation: list[Any], size: int) -> asyncio.Future[Any]:
        if self.channel.is_closed:
            raise ChannelClosedError(_GONE)
        future: asyncio.Future[Any] = self.loop.create_future()
        if size > MAX_PART:
            self._send_large(operation)
        elif not self._pending:
            self.channel.send_alone(encode(OPERATIONS, (operation,)))
        else:
            batch = self._batch
            if batch is None or not batch.is_open:
                batch = self._batch = _Batch()
                self.channel.send(batch)
            batch.operations.append(operation)
            batch.size += size
            if batch.size > MAX_BATCH:
                self._pending.append(future)
                self._close_batch()
                return future
        self._pending.append(future)
        return future

    async def _ask_later(self, operation: list[Any], size: int) -> Any:
        turn = self.loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._let_in()  # another one in its place
            raise
        return await self._ask(operation, size)

    def _let_in(self) -> None:
        """Lets those who wait ask, as far as there is room."""
        room = 0 if self.channel.waits_for_room else _AT_MOST - len(self._pending)
        while self._waiting and room > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    def _close_batch(self) -> None:
        self._batch = None
        self.channel.flush()

    def _send_large(self, operation: list[Any]) -> None:
        """Sends an operation whose values travel before it, in parts."""
        self._batch = None
        for index in protocol.LARGE_VALUES.get(operation[0], ()):
            for part in protocol.parts(operation[index]):
                self.channel.send(part)
            operation[index] = None
        self.channel.send(encode(LARGE, operation))
        self.channel.flush()

    # ---- listening

    async def watch(self, prefix: str, stream: _Stream) -> None:
        """Puts changes into the stream from now on, until `unwatch`."""
        await self._add(self._streams, prefix, stream, protocol.WATCH, protocol.UNWATCH)

    def unwatch(self, prefix: str, stream: _Stream) -> None:
        """Ends what `watch` has begun."""
        self._remove(self._streams, prefix, stream, protocol.UNWATCH)

    async def watch_lock(self, name: str, event: asyncio.Event) -> None:
        """Sets the event when the lock may be free, from now on, until `unwatch_lock`."""
        await self._add(self._locks, name, event, protocol.WATCH_LOCK, protocol.UNWATCH_LOCK)

    def unwatch_lock(self, name: str, event: asyncio.Event) -> None:
        """Ends what `watch_lock` has begun."""
        self._remove(self._locks, name, event, protocol.UNWATCH_LOCK)

    async def _add(self, listeners: dict[str, set[Any]], name: str, one: Any, kind: int, end: int) -> None:
        is_heard = self._listen(kind, name)
        listeners.setdefault(name, set()).add(one)
        try:
            await is_heard
        except BaseException:
            self._remove(listeners, name, one, end)
            raise

    def _remove(self, listeners: dict[str, set[Any]], name: str, one: Any, end: int) -> None:
        listeners[name].discard(one)
        if not listeners[name]:
            del listeners[name]
        if not self.channel.is_closed:
            self._listen(end, name).cancel()

    def _listen(self, kind: int, name: str) -> asyncio.Future[Any]:
        if self.channel.is_closed:
            raise ChannelClosedError(_GONE)
        self._batch = None
        self.channel.send(encode(protocol.LISTEN, kind, name))
        future: asyncio.Future[Any] = self.loop.create_future()
        self._pending.append(future)
        return future

    # ---- in

    def _receive(self, frame: Any, take: TakeDescriptors) -> None:
        kind = frame[0]
        if kind == RESULTS:
            next_one = self._pending.popleft
            for result in frame[1]:
                future = next_one()
                if not future.done():  # it may have been cancelled
                    future.set_result(result)
            if self._waiting:
                self._let_in()
        elif kind == FAILURE:
            _, error, text = frame
            future = self._pending.popleft()
            if not future.done():
                future.set_exception(ERRORS.get(error, BackplaneError)(text))
            if self._waiting:
                self._let_in()
        elif kind == CHANGES:
            for key, value in frame[1]:
                change = Changed(key, value)
                for prefix, streams in self._streams.items():
                    if key.startswith(prefix):
                        for stream in streams:
                            stream.put(change)
        elif kind == FREED:
            for event in self._locks.get(frame[1], ()):
                event.set()

    def _on_end(self, error: Exception | None) -> None:
        why = f"{_GONE if error is None else error}{_MAYBE}"
        for future in self._pending:
            if not future.done():
                future.set_exception(ChannelClosedError(why))
        self._pending.clear()
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)  # it will find that the channel is closed
        self._waiting.clear()
        for streams in self._streams.values():
            for stream in streams:
                stream.end()
        for events in self._locks.values():
            for event in events:
                event.set()

    def close(self) -> None:
        """Closes the channel. What was under way fails, unless its loop is closed."""
        if not self.channel.is_closed:
            self.channel.close()
            if not self.loop.is_closed():
                self._on_end(None)


class ChannelEngine:
    """The state in a process of its own. See `engine.Engine` for what its methods do.

    Each event loop of this process has a channel of its own, which is opened when it is first needed, and again when
    the state's process had gone.

    Args:
        open: Opens a channel.
    """

    def __init__(self, open: Open) -> None:
        self._open = open
        self._last: Connection | None = None  # the one that was used last: most processes have one loop
        self._connections: dict[asyncio.AbstractEventLoop, Connection] = {}
        self._opening: dict[asyncio.AbstractEventLoop, asyncio.Task[Connection]] = {}
        self._is_closed = False

    # ---- the connection

    async def _connection(self) -> Connection:
        """The connection of this loop."""
        loop = asyncio.get_running_loop()
        connection = self._connections.get(loop)
        if connection is not None and not connection.channel.is_closed:
            self._last = connection
            return connection
        if self._is_closed:
            raise ClusterError("the state is closed, because the cluster has stopped")
        opening = self._opening.get(loop)
        if opening is None:
            opening = self._opening[loop] = loop.create_task(self._connect(loop))
            opening.add_done_callback(lambda opening: self._on_opened(loop, opening))
        return await asyncio.shield(opening)

    def _on_opened(self, loop: asyncio.AbstractEventLoop, opening: asyncio.Task[Connection]) -> None:
        self._opening.pop(loop, None)
        if not opening.cancelled():
            opening.exception()  # marks it as retrieved, in case nobody waits any more

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection:
        sock = await self._open()
        for other, connection in list(self._connections.items()):
            if other.is_closed():  # a loop does not say that it is, so a channel may stay until here
                connection.close()
                del self._connections[other]
        if self._is_closed:
            sock.close()
            raise ClusterError("the state is closed, because the cluster has stopped")
        self._last = self._connections[loop] = Connection(sock, loop)
        return self._last

    def _here(self) -> Connection | None:
        """The connection of this loop, if that is the one that was used last."""
        last = self._last
        if last is None or last.channel.is_closed or last.loop is not asyncio.get_running_loop():
            return None
        return last

    async def _read(self, operation: list[Any], size: int) -> Any:
        """Asks for what may be done twice: once more if the state's process goes meanwhile."""
        try:
            return await (self._here() or await self._connection()).ask(operation, size)
        except ChannelClosedError:
            return await (await self._connection()).ask(operation, size)

    async def catch_up(self) -> None:
        """See `Engine.catch_up`. Changes and results come by the same channel, in their order."""

    async def reach(self) -> None:
        """See `Engine.reach`."""
        await self.get("")

    def abandon(self) -> None:
        """Closes the copies in a forked child of the process. Touches no event loop."""
        for connection in self._connections.values():
            connection.channel.abandon()
        self._connections.clear()
        self._opening.clear()
        self._last = None
        self._is_closed = True

    async def close(self) -> None:
        """Closes all channels."""
        self._is_closed = True
        for opening in self._opening.values():
            opening.cancel()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._last = None

    # ---- operations

    async def get(self, key: str) -> bytes | None:
        body: bytes | None = await self._read([protocol.GET, key], len(key))
        return body

    async def set(self, key: str, value: bytes, ttl: float | None, if_absent: bool) -> bool:
        connection = self._here() or await self._connection()
        done: bool = await connection.ask([protocol.SET, key, value, ttl, if_absent], len(key) + len(value))
        return done

    async def delete(self, key: str) -> bool:
        connection = self._here() or await self._connection()
        done: bool = await connection.ask([protocol.DELETE, key], len(key))
        return done

    async def incr(self, key: str, by: int, ttl: float | None) -> int:
        connection = self._here() or await self._connection()
        total: int = await connection.ask([protocol.INCR, key, by, ttl], len(key))
        return total

    async def replace(self, key: str, expected: bytes, value: bytes) -> bool:
        connection = self._here() or await self._connection()
        size = len(key) + len(expected) + len(value)
        done: bool = await connection.ask([protocol.REPLACE, key, expected, value], size)
        return done

    async def get_many(self, keys: list[str]) -> list[bytes | None]:
        values: list[bytes | None] = []
        while len(values) < len(keys):  # a result may have the values of the first keys only
            some = keys[len(values) : len(values) + MAX_KEYS]
            values += await self._read([protocol.GET_MANY, some], sum(map(len, some)))
        return values

    async def keys(self, prefix: str) -> list[str]:
        found: list[str] = []
        after: str | None = None
        while True:
            some: list[str] = await self._read([protocol.KEYS, prefix, after], len(prefix))
            found += some
            if len(some) < MAX_PAGE:
                return found
            after = some[-1]

    async def acquire(self, name: str, owner: str, ttl: float) -> int | None:
        token: int | None = await self._read([protocol.ACQUIRE, name, owner, ttl], len(name))
        return token

    async def renew(self, name: str, owner: str, ttl: float) -> bool:
        done: bool = await self._read([protocol.RENEW, name, owner, ttl], len(name))
        return done

    async def release(self, name: str, owner: str) -> bool:
        connection = self._here() or await self._connection()
        done: bool = await connection.ask([protocol.RELEASE, name, owner], len(name))
        return done

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[Changed]]:
        stream = _Stream()
        connection = await self._listening(lambda connection: connection.watch(prefix, stream))
        try:
            yield stream
        finally:
            connection.unwatch(prefix, stream)

    @asynccontextmanager
    async def watch_lock(self, name: str) -> AsyncIterator[asyncio.Event]:
        event = asyncio.Event()
        connection = await self._listening(lambda connection: connection.watch_lock(name, event))
        try:
            yield event
        finally:
            connection.unwatch_lock(name, event)

    async def _listening(self, begin: Callable[[Connection], Awaitable[None]]) -> Connection:
        """Begins to listen: once more if the state's process goes meanwhile."""
        connection = await self._connection()
        try:
            await begin(connection)
        except ChannelClosedError:
            connection = await self._connection()
            await begin(connection)
        return connection
