"""The process that keeps the state, beside clients that keep to nothing."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from aiocluster._state import protocol
from aiocluster._state.client import ChannelEngine
from aiocluster._state.engine import Changed
from aiocluster._state.memory import MemoryStore
from aiocluster._state.server import Server
from aiocluster._state.state import State
from aiocluster._wire.codec import Decoder, encode
from tests.conftest import BOTH

from .engines import served

pytestmark = pytest.mark.asyncio(loop_factories=sorted(BOTH))

GETS = encode(protocol.OPERATIONS, [[protocol.GET, "big"]] * 1000)


def _raw(server: Server) -> socket.socket:
    """A client that only does what the test does."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    server.serve(theirs)
    return ours


def _held(server: Server) -> int:
    """Bytes that the server holds for clients that do not read."""
    return sum(
        len(frame) if isinstance(frame, (bytes, memoryview)) else 0
        for client in server._clients
        for frame in [*client.channel._outbox, client.channel._unsent]
    )


async def test_a_client_that_does_not_read_gets_no_more_and_loses_nothing() -> None:
    server = Server(MemoryStore())
    async with served(server) as connect:
        state = State._create(connect())
        value = "x" * 100_000
        await state.set("big", value)
        with _raw(server) as greedy:
            asked = 0
            while not any(client.channel._is_paused for client in server._clients):
                try:
                    asked += greedy.send(GETS[asked % len(GETS) :])
                except BlockingIOError:
                    pass
                await asyncio.sleep(0)
                if asked > 100 * len(GETS):
                    raise AssertionError("it reads on")
            assert _held(server) < 4 * protocol.PAGE
            assert await state.get("big") == value  # the others are served
            await state.set("big", "y")
            decoder, results = Decoder(protocol.PAGE * 4), 0
            loop = asyncio.get_running_loop()
            whole = asked // len(GETS) * 1000
            while results < whole:
                for frame in decoder.feed(await loop.sock_recv(greedy, 1 << 20)):
                    fields: Any = frame
                    assert fields[0] == protocol.RESULTS
                    results += len(fields[1])


async def test_a_watcher_that_does_not_read_gets_the_last_values() -> None:
    server = Server(MemoryStore())
    async with served(server) as connect:
        state = State._create(connect())
        loop = asyncio.get_running_loop()
        with _raw(server) as slow:
            await loop.sock_sendall(slow, encode(protocol.LISTEN, protocol.WATCH, ""))
            decoder = Decoder(protocol.PAGE * 4)
            assert [*decoder.feed(await loop.sock_recv(slow, 1000))] == [[protocol.RESULTS, [None]]]
            for n in range(3000):
                await state.set(f"k{n % 3}", [n, "x" * 1000])
            assert _held(server) < 2 * protocol.PAGE
            await state.set("end", 0)
            last: dict[str, bytes] = {}
            while "end" not in last:
                for frame in decoder.feed(await loop.sock_recv(slow, 1 << 20)):
                    fields: Any = frame
                    last.update(fields[1])
            keys = ["k0", "k1", "k2"]
            assert [last[key] for key in keys] == await state._engine.get_many(keys)


async def test_many_operations_of_one_turn_are_bounded_and_keep_their_order() -> None:
    server = Server(MemoryStore())
    async with served(server) as connect:
        engine = connect()
        assert isinstance(engine, ChannelEngine)
        state = State._create(engine)
        await state.set("n", 0)
        tasks = [asyncio.ensure_future(state.incr("n")) for _ in range(20_000)]
        await asyncio.sleep(0)
        (connection,) = engine._connections.values()
        assert len(connection._pending) <= 4096
        for task in tasks[5000:15_000]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        sums = [one for one in done if isinstance(one, int)]
        assert sums == sorted(sums)
        assert len(sums) == 10_000
        assert await state.get("n") >= 10_000


async def test_changes_of_many_bytes_come_whole() -> None:
    server = Server(MemoryStore())
    async with served(server) as connect:
        engine, other = connect(), connect()
        async with engine.watch("") as changes:
            values = [bytes([n]) * 700_000 for n in range(5)]
            await asyncio.gather(*(other.set("k", value, None, False) for value in values))
            assert [await anext(changes) for _ in values] == [Changed("k", value) for value in values]


async def test_a_client_whose_operation_is_none_is_dropped_and_no_other() -> None:
    server = Server(MemoryStore())
    async with served(server) as connect:
        state = State._create(connect())
        assert await state.incr("n") == 1
        loop = asyncio.get_running_loop()
        for frame in (
            encode(protocol.OPERATIONS, [[protocol.INCR, "m", 1, None], [protocol.GET]]),
            encode(protocol.OPERATIONS, 7),
            encode(protocol.LARGE, [protocol.SET, "a", None, None, False]),
            encode(protocol.LARGE, [protocol.GET, "a"]),
            encode(protocol.PART, b"x", 1),
            encode(protocol.LISTEN, protocol.GET, "a"),
            encode(protocol.LISTEN, protocol.UNWATCH, 7),
            encode(protocol.RESULTS, []),
            b"".join(encode(protocol.PART, b"", True) for _ in range(4)),
        ):
            with _raw(server) as hostile:
                await loop.sock_sendall(hostile, frame)
                assert await loop.sock_recv(hostile, 1000) == b"", frame
        assert await state.incr("n") == 2
        assert len(server._clients) == 1
