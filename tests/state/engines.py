"""The engines of the state, each as the contract's tests have it: a URL for a cluster, and clients without one."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from aiocluster._state.client import ChannelEngine
from aiocluster._state.engine import Engine
from aiocluster._state.memory import MemoryStore
from aiocluster._state.redis import RedisEngine
from aiocluster._state.server import Server
from aiocluster._state.sqlite import SqliteStore
from aiocluster._state.sqlite_server import SqliteServer

Connect = Callable[[], Engine]
"""Makes a client."""


@asynccontextmanager
async def served(server: Server) -> AsyncIterator[Connect]:
    """Yields what makes clients of a server, which runs in this process. Closes all of them, and the server."""
    clients: list[ChannelEngine] = []

    async def open_one() -> socket.socket:
        ours, theirs = socket.socketpair()
        server.serve(theirs)
        return ours

    def connect() -> Engine:
        clients.append(ChannelEngine(open_one))
        return clients[-1]

    try:
        yield connect
    finally:
        for client in clients:
            await client.close()
        await server.close()


@asynccontextmanager
async def in_memory(folder: Path) -> AsyncIterator[Connect]:
    async with served(Server(MemoryStore())) as connect:
        yield connect


@asynccontextmanager
async def in_sqlite(folder: Path) -> AsyncIterator[Connect]:
    async with served(SqliteServer(SqliteStore(str(folder / "state.db")), "sqlite:///state.db")) as connect:
        yield connect


@asynccontextmanager
async def in_redis(url: str) -> AsyncIterator[Connect]:
    engines: list[RedisEngine] = []

    def connect() -> Engine:
        engines.append(RedisEngine(url))
        return engines[-1]

    try:
        yield connect
    finally:
        for engine in engines:
            await engine.close()


ENGINES: dict[str, Callable[[Path], AbstractAsyncContextManager[Connect]]] = {
    "memory": in_memory,
    "sqlite": in_sqlite,
}
"""What opens each engine, empty, and closes it. A Redis is a fixture's."""

URLS: dict[str, Callable[[Path], str]] = {
    "memory": lambda folder: "memory:",
    "sqlite": lambda folder: f"sqlite:///{folder}/state.db",
}
"""What a cluster is given as its state, for each engine."""
