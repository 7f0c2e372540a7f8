"""Async handlers and streams confirm a message when they have finished with it: who is slow, slows the sender down."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from typing import Any

import pytest

from aiocluster._wire.windows import WINDOW
from aiocluster.events import Message

from . import inside
from .party import is_stopped, party, until

SIZE = 1000
LEAST, MOST = WINDOW // (SIZE + 100), 2 * WINDOW // SIZE
WAYS = ["handler", "events"]


@pytest.mark.parametrize("way", WAYS)
async def test_in_the_primary(way: str) -> None:
    async with party(1) as all:
        (a,) = all.workers
        gate = asyncio.Event()

        async def slow(event: Message) -> None:
            await gate.wait()

        stream = all.primary.events("message") if way == "events" else None
        if stream is None:
            all.primary.on("message", slow)
        sent = await a._session.run(inside.fill, [os.getpid(), SIZE])
        assert LEAST <= sent <= MOST
        assert not await a._session.run(inside.is_done, [])
        assert len(asyncio.all_tasks()) < MOST + 100
        if stream is None:
            gate.set()
        else:
            assert [(await anext(stream)).message[0] for _ in range(sent)] == list(range(sent))
        assert await a._session.run(inside.how_it_ended, []) == "returned None"
        if stream is not None:
            stream.close()


@pytest.mark.parametrize("way", WAYS)
async def test_in_a_worker(way: str) -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.receive_slowly, [way])
        sent = await a._session.run(inside.fill, [b.pid, SIZE])
        assert LEAST <= sent <= MOST
        assert not await a._session.run(inside.is_done, [])
        assert await b._session.run(inside.receive_the_rest, [way, sent]) == list(range(sent))
        assert await a._session.run(inside.how_it_ended, []) == "returned None"


@pytest.mark.parametrize("way", WAYS)
async def test_messages_that_were_kept_for_them(way: str) -> None:
    async with party(2) as all:
        a, b = all.workers
        sent = await a._session.run(inside.fill, [b.pid, SIZE])
        await b._session.run(inside.receive_slowly, [way])
        assert not await a._session.run(inside.is_done, [])
        assert await b._session.run(inside.receive_the_rest, [way, sent]) == list(range(sent))
        assert await a._session.run(inside.how_it_ended, []) == "returned None"


@pytest.mark.parametrize("way", ["close", "forget", "cancel"])
async def test_what_stops_receiving_confirms_what_it_held(way: str) -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.receive_slowly, ["handler" if way == "cancel" else "events"])
        await a._session.run(inside.fill, [b.pid, SIZE])
        await b._session.run(inside.stop_receiving, [way])
        assert await a._session.run(inside.how_it_ended, []) == "returned None"


async def test_a_stream_of_the_primary_that_is_forgotten() -> None:
    async with party(1) as all:
        (a,) = all.workers
        stream: Any = all.primary.events("message")
        await a._session.run(inside.fill, [os.getpid(), SIZE])
        assert (await anext(stream)).message[0] == 0
        del stream
        gc.collect()
        assert await a._session.run(inside.how_it_ended, []) == "returned None"


async def test_what_was_handled_before_a_worker_left_does_not_come_back() -> None:
    async with party(2) as all:
        a, b = all.workers
        await a._session.run(inside.hear, [])
        await b._session.run(inside.receive_slowly, ["handler"])
        await a._session.run(inside.send_numbers, [b.pid, 0, 10])
        await b._session.run(inside.open_gate_in, [0.1])
        await b.disconnect()
        await b.wait()
        await until(lambda: b.pid not in all.primary._by_pid)
        while b.pid in await a._session.run(inside.peers, []):
            await asyncio.sleep(0.002)
        assert await a._session.run(inside.how_many, ["undelivered"]) == 0


async def test_what_was_not_handled_before_a_worker_left_comes_back() -> None:
    async with party(2, graceful_timeout=0.1) as all:
        a, b = all.workers
        await a._session.run(inside.hear, [])
        await b._session.run(inside.receive_slowly, ["handler"])
        await a._session.run(inside.send_numbers, [b.pid, 0, 10])
        await b.disconnect()
        assert await a._session.run(inside.heard_undelivered, [10]) == [[b.pid, [n, b""]] for n in range(10)]


async def test_requests_that_time_out_again_and_again_are_bounded() -> None:
    """To a stopped worker: neither the requester nor the primary that passes them on keeps more than a window."""
    async with party(2) as all:
        a, stopped = all.workers
        stopped.kill(signal.SIGSTOP)
        await is_stopped(stopped)
        queue = stopped._session.channel._outbox
        for _ in range(5000):
            with pytest.raises(TimeoutError):
                await stopped.request(b"x" * 100, timeout=0)
        own = len(queue)
        assert own < 2500
        assert stopped._session.conversation._requests == {}
        assert await a._session.run(inside.time_out, [stopped.pid, 5000]) < 10
        assert len(queue) < own + 2500
        stopped.kill(signal.SIGCONT)
