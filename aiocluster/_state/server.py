"""Serves a store to its clients, each of which has a channel.

::

    channel ── operations ──▶ Client.todo ──▶ perform ──▶ Store
       ▲                                          │
       ├──────────── results ◀────────────────────┤
       └──────────── changes, locks ◀─────────────┘  to each client that watches

A store in memory performs at once; `sqlite_server` does so in a thread. A client that does not read its results has no
more of its operations performed, and no more of them are read.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from .._wire.channel import Channel
from .._wire.codec import MAX_FRAME_OF_PEER, MAX_MESSAGE, RawFrame, encode
from .._wire.frame import TakeDescriptors
from ..errors import ProtocolError
from . import protocol
from .backlog import Backlog
from .engine import Changed
from .protocol import CHANGES, FREED, LARGE, OPERATIONS, PAGE, PART
from .store import News, Store, perform, take_news

logger = logging.getLogger("aiocluster.state")

_AT_MOST = 8192  # operations of one client that may wait
_SOON = 0.02  # seconds: what expires is looked for so often at most
_LATE = 0.5  # and at least so often while something expires, should the clock be set


class Client:
    """One client.

    Attributes:
        channel: Its channel.
        todo: Operations that have not been performed.
        prefixes: What it watches.
        locks: The locks that it waits for.
        backlog: Changes that wait until its channel has room.
        freed: Locks that have become free, likewise.
        unsent: Bytes of results that have been queued since it was last looked whether there is room.
        is_at_work: Whether a thread performs what it asked for.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.todo: deque[Any] = deque()
        self.prefixes: Counter[str] = Counter()
        self.locks: Counter[str] = Counter()
        self.backlog: Backlog = Backlog()
        self.freed: dict[str, None] = {}
        self.unsent: int = 0
        self.is_at_work: bool = False
        self._parts: list[bytes] = []
        self._size = 0  # bytes of a value that has not come whole
        self._values: deque[bytes] = deque()

    def part(self, body: Any, is_last: Any) -> None:
        """Takes a part of a large value."""
        if type(body) is not bytes or type(is_last) is not bool:
            raise ProtocolError("a part of a value has fields of the wrong types")
        self._size += len(body)
        if self._size > MAX_MESSAGE or len(self._values) > 1:  # no operation has more than two
            raise ProtocolError(f"a value is over the limit of {MAX_MESSAGE} bytes")
        self._parts.append(body)
        if is_last:
            self._values.append(b"".join(self._parts))
            self._parts, self._size = [], 0

    def whole(self, operation: Any) -> list[Any]:
        """An operation with the values that came in parts."""
        kind = protocol.LARGE_VALUES.get(operation[0]) if type(operation) is list and operation else None
        if kind is None:
            raise ProtocolError(f"{operation!r:.60} has no large value")
        for index in kind:
            if index < len(operation) and operation[index] is None:
                if not self._values:
                    raise ProtocolError("a value has not come")
                operation[index] = self._values.popleft()
        return list(operation)

    @property
    def is_ready(self) -> bool:
        """Whether operations of it can be performed now."""
        return bool(self.todo) and not self.is_at_work and not self.channel.is_closed and not self.has_to_read

    @property
    def has_to_read(self) -> bool:
        """Whether it must read before it gets more."""
        return self.channel.waits_for_room or bool(self.backlog)

    def send(self, frame: bytes) -> None:
        """Sends it a frame, unless it is gone."""
        if frame and not self.channel.is_closed:
            self.channel.send(frame)


class Server:
    """Serves a store that does not wait for anything, as one in memory.

    Args:
        store: The store.
        clock: The time that the store is given, in seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._clients: dict[Client, None] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at = 0.0

    def serve(self, sock: socket.socket) -> None:
        """Serves a client. The socket is the server's from now on."""
        channel = Channel(sock, limit=MAX_FRAME_OF_PEER)
        client = Client(channel)
        self._clients[client] = None

        def receive(frame: RawFrame, take: TakeDescriptors) -> None:
            self._receive(client, frame)

        def closed(error: Exception | None) -> None:
            self._gone(client, error)

        channel.drained = lambda: self._drained(client)
        channel.attach(self._loop, receive, closed)

    def _gone(self, client: Client, error: Exception | None) -> None:
        if error is not None:
            logger.error("a client of the state is dropped: %s", error)
        self._clients.pop(client, None)
        client.todo.clear()
        client.prefixes.clear()
        self._look_who_watches()

    def _drop(self, client: Client, error: ProtocolError) -> None:
        client.channel.close()
        self._gone(client, error)

    # ---- what a client sends

    def _receive(self, client: Client, frame: RawFrame) -> None:
        kind, *fields = frame
        if kind == OPERATIONS and len(fields) == 1 and type(fields[0]) is list:
            client.todo.extend(fields[0])
        elif kind == PART and len(fields) == 2:
            client.part(*fields)
            return
        elif kind == LARGE and len(fields) == 1:
            client.todo.append(client.whole(fields[0]))
        elif kind == protocol.LISTEN and len(fields) == 2:
            self._listen(client, *fields)
            client.todo.append(fields)
        else:
            raise ProtocolError(f"a client of the state sent a frame of kind {kind} with {len(fields)} fields")
        self._go_on(client)
        if client.todo and (client.has_to_read or kind == LARGE or len(client.todo) > _AT_MOST):
            client.channel.pause()

    def _listen(self, client: Client, kind: Any, name: Any) -> None:
        if type(kind) is not int or kind not in protocol.LISTENS or type(name) is not str:
            raise ProtocolError(f"a client of the state can't listen to {name!r:.60}")
        of = client.prefixes if kind in (protocol.WATCH, protocol.UNWATCH) else client.locks
        of[name] += 1 if kind in (protocol.WATCH, protocol.WATCH_LOCK) else -1
        if of[name] <= 0:
            del of[name]
        self._look_who_watches()

    def _look_who_watches(self) -> None:
        self._store.is_watched = any(client.prefixes for client in self._clients)

    def _drained(self, client: Client) -> None:
        """Its channel has room again."""
        self._send_freed(client)
        self._send_backlog(client)
        if client.todo and not client.has_to_read:
            self._go_on(client)
        self._resume(client)

    def _resume(self, client: Client) -> None:
        if not client.channel.is_closed and not client.has_to_read and len(client.todo) <= _AT_MOST:
            client.channel.resume()

    # ---- what it gets

    def _go_on(self, client: Client) -> None:
        """Performs what it has asked for, as long as it reads its results."""
        while client.is_ready:
            try:
                frame = perform(self._store, self._clock(), client.todo)
            except ProtocolError as error:
                self._drop(client, error)
                break
            self._tell(take_news(self._store))
            client.send(frame)
            client.unsent += len(frame)
            if client.todo or client.unsent > PAGE:
                client.unsent = 0
                client.channel.flush()  # now it is known whether there is room
        self._look_at_the_clock()

    def _tell(self, news: News) -> None:
        """Tells those who listen."""
        if news.changes:
            frames: dict[tuple[str, ...], bytes] = {}  # encoded once for all who watch the same
            for client in self._clients:
                if client.prefixes:
                    self._tell_changes(client, news.changes, frames)
        for name in news.freed:
            for client in self._clients:
                if name in client.locks:
                    client.freed[name] = None
                    self._send_freed(client)

    def _tell_changes(self, client: Client, changes: list[Changed], frames: dict[tuple[str, ...], bytes]) -> None:
        prefixes = tuple(client.prefixes)
        if client.has_to_read:
            for change in changes:
                if change.key.startswith(prefixes):
                    client.backlog.put(change)
            return
        if prefixes not in frames:
            frames[prefixes] = _encoded([change for change in changes if change.key.startswith(prefixes)])
        client.send(frames[prefixes])

    def _send_freed(self, client: Client) -> None:
        if not client.channel.waits_for_room:
            client.send(b"".join(encode(FREED, name) for name in client.freed))
            client.freed.clear()

    def _send_backlog(self, client: Client) -> None:
        while client.backlog and not client.channel.waits_for_room and not client.channel.is_closed:
            changes, size = [], 0
            while client.backlog and size < PAGE:
                changes.append(change := client.backlog.take())
                size += len(change.key) + len(change.value or b"")
            client.send(_encoded(changes))
            client.channel.flush()

    # ---- expiry

    def _look_at_the_clock(self) -> None:
        """Has what expires next be looked for when it is time."""
        end = self._store.next_expiry
        if end is None or (self._timer is not None and end >= self._expires_at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._expires_at = end
        self._timer = self._loop.call_later(min(max(end - self._clock(), _SOON), _LATE), self._expire_when_due)

    def _expire_when_due(self) -> None:
        self._timer = None
        self._expire()

    def _expire(self) -> None:
        self._store.expire(self._clock())
        self._tell(take_news(self._store))
        self._look_at_the_clock()

    async def close(self) -> None:
        """Closes all channels."""
        if self._timer is not None:
            self._timer.cancel()
        for client in list(self._clients):
            client.channel.flush()
            client.channel.close()
        self._clients.clear()


def _encoded(changes: list[Changed]) -> bytes:
    """Frames with these changes."""
    frames: list[bytes] = []
    items: list[tuple[str, bytes | None]] = []
    size = 0
    for change in changes:
        items.append((change.key, change.value))
        size += len(change.key) + len(change.value or b"")
        if size > PAGE:
            frames.append(encode(CHANGES, items))
            items, size = [], 0
    if items:
        frames.append(encode(CHANGES, items))
    return b"".join(frames)
