"""Serves a store that waits for the disk, in a thread.

All that came during one turn of the loop, or while the thread was at work, is one transaction, and is answered once
that is committed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .._wire.codec import encode
from ..errors import ProtocolError
from .protocol import ENGINE, FAILURE
from .server import Client, Server
from .sqlite import SqliteStore
from .store import News, Store, perform, take_news

logger = logging.getLogger("aiocluster.state")


class SqliteServer(Server):
    """Serves a store that waits for the disk, in a thread.

    Args:
        store: The store.
        name: What the store is called in errors.
    """

    def __init__(self, store: SqliteStore, name: str) -> None:
        super().__init__(store, time.time)
        self._file = store
        self._name = name
        self._thread = ThreadPoolExecutor(1, "aiocluster-sqlite")
        self._turn: asyncio.Task[None] | None = None
        self._has_expired = False

    def _go_on(self, client: Client) -> None:
        if self._turn is None:
            self._turn = self._loop.create_task(self._take_turns())

    def _expire(self) -> None:
        self._has_expired = True
        if self._turn is None:
            self._turn = self._loop.create_task(self._take_turns())

    async def _take_turns(self) -> None:
        """Has the thread perform what waits, one transaction after the other."""
        try:
            while True:
                batch = [client for client in self._clients if client.is_ready]
                if not batch and not self._has_expired:
                    break
                self._has_expired = False
                todos = [self._begin(client) for client in batch]
                answers, news = await self._loop.run_in_executor(self._thread, self._perform, todos)
                self._tell(news)
                for client, todo, answer in zip(batch, todos, answers, strict=True):
                    self._answer(client, todo, answer)
        finally:
            self._turn = None
            self._look_at_the_clock()

    def _begin(self, client: Client) -> deque[Any]:
        """Takes what it has asked for. What it asks for from now on is not the thread's."""
        client.is_at_work = True
        todo, client.todo = client.todo, deque()
        return todo

    def _answer(self, client: Client, left: deque[Any], answer: bytes | ProtocolError) -> None:
        client.is_at_work = False
        if isinstance(answer, ProtocolError):
            self._drop(client, answer)
            return
        client.todo.extendleft(reversed(left))
        client.send(answer)
        if not client.channel.is_closed:
            client.channel.flush()  # now it is known whether there is room
        self._resume(client)

    def _perform(self, todos: list[deque[Any]]) -> tuple[list[bytes | ProtocolError], News]:
        """Performs the operations in one transaction. If that fails, none is done, and each is told so."""
        now = self._clock()
        counts = [len(todo) for todo in todos]
        try:
            with self._file.transaction():
                self._store.expire(now)
                answers = [_performed(self._store, now, todo) for todo in todos]
            return answers, take_news(self._store)
        except Exception as error:
            logger.error("the state in %s could not be written: %s", self._name, error)
            for todo in todos:
                todo.clear()
            failure = encode(FAILURE, ENGINE, f"{self._name}: {error}; nothing of it was done")
            return [failure * count for count in counts], News()

    async def close(self) -> None:
        """Finishes what the thread is at, and closes all."""
        if self._turn is not None:
            await asyncio.wait([self._turn])
        self._thread.shutdown()
        await super().close()
        self._file.close()


def _performed(store: Store, now: float, operations: deque[Any]) -> bytes | ProtocolError:
    try:
        return perform(store, now, operations)
    except ProtocolError as error:
        return error
