"""What a receiver had not confirmed when it was killed comes back to its sender, in order."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from aiocluster import ChannelClosedError
from aiocluster.events import Undelivered

from . import inside
from .party import is_stopped, party, until


async def test_what_a_killed_worker_had_not_confirmed_comes_back_to_a_worker() -> None:
    async with party(3) as all:
        a, b, c = all.workers
        for worker in all.workers:
            await worker._session.run(inside.hear, [])
        await a._session.run(inside.send_numbers, [b.pid, 0, 100])
        assert await b._session.run(inside.heard_numbers, [100]) == list(range(100))
        await a._session.run(inside.unconfirmed_is, [b.pid, 0])
        b.kill(signal.SIGSTOP)
        await is_stopped(b)
        await a._session.run(inside.send_numbers, [b.pid, 100, 600])
        await a._session.run(inside.send_numbers, [c.pid, 0, 10])
        await a._session.run(inside.send_to, [b.pid, [600, b"x" * 200_000]])
        b.kill(signal.SIGKILL)
        await b.wait_gone()
        numbers = await a._session.run(inside.numbers_undelivered, [600])
        assert numbers == list(range(100, 601))
        returned = await a._session.run(inside.heard_undelivered, [501])
        assert {pid for pid, _ in returned} == {b.pid}
        assert returned[-1] == [b.pid, [600, b"x" * 200_000]]
        assert await c._session.run(inside.how_many, ["undelivered"]) == 0
        assert await c._session.run(inside.heard_numbers, [10]) == list(range(10))
        assert all.events == []


async def test_what_a_killed_worker_had_not_confirmed_comes_back_to_the_primary() -> None:
    async with party(2) as all:
        a, b = all.workers
        await a._session.run(inside.hear, [])
        a.kill(signal.SIGSTOP)
        await is_stopped(a)
        for n in range(500):
            await a.send([n])
        await a.send([500, b"x" * 200_000])
        await all.primary.broadcast([501])
        own: list[Undelivered] = []
        a.on("undelivered", own.append)
        a.kill(signal.SIGKILL)
        returned = await all.hears("undelivered", 502)
        assert [event.message[0] for event in returned] == list(range(502))
        assert {event.pid for event in returned} == {a.pid}
        assert own == returned
        assert await b._session.run(inside.how_many, ["undelivered"]) == 0


async def test_what_was_confirmed_does_not_come_back() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.hear, ["message"])
        await a._session.run(inside.hear, ["undelivered"])
        await a._session.run(inside.send_numbers, [b.pid, 0, 1000, 50])
        for n in range(1000):
            await b.send([n])
        await b._session.run(inside.heard_numbers, [2000])
        await until(lambda: not b._session.conversation.send_window._under_way)
        await a._session.run(inside.unconfirmed_is, [b.pid, 0])
        b.kill(signal.SIGKILL)
        await b.wait_gone()
        assert await a._session.run(inside.peers, []) == []
        assert await a._session.run(inside.how_many, ["undelivered"]) == 0
        assert all.events == []


async def test_what_waits_in_messages_is_not_confirmed() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.open_messages, [])
        await a._session.run(inside.hear, ["undelivered"])
        for n in range(10):  # a frame each: a frame is confirmed when all it holds has been taken
            await a._session.run(inside.send_to, [b.pid, [n]])
        assert await b._session.run(inside.next_messages, [6]) == list(range(6))
        await a._session.run(inside.unconfirmed_is, [b.pid, 5])
        b.kill(signal.SIGKILL)
        await b.wait_gone()
        assert await a._session.run(inside.numbers_undelivered, [9]) == [5, 6, 7, 8, 9]


async def test_who_waits_for_room_is_told() -> None:
    async with party(2) as all:
        a, b = all.workers
        b.kill(signal.SIGSTOP)
        await is_stopped(b)
        await a._session.run(inside.hear, ["undelivered"])
        sent = await a._session.run(inside.fill, [b.pid, 1000])
        await a._session.run(inside.start, ["send_numbers", b.pid, 0, 1, 3_000_000])

        async def fill() -> None:
            while True:
                await b.send(b"x" * 300_000)

        filling = asyncio.ensure_future(fill())
        b.kill(signal.SIGKILL)
        with pytest.raises(ChannelClosedError):
            await filling
        for index in (0, 1):
            assert await a._session.run(inside.how_it_ended, [index]) == "ChannelClosedError"
        assert await a._session.run(inside.numbers_undelivered, [sent - 1]) == list(range(sent))


async def test_what_a_killed_sender_had_sent_arrives() -> None:
    """As far as the kernel had it: in order, and without a hole."""
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.hear, ["message"])
        await a._session.run(inside.send_numbers, [b.pid, 0, 100])
        flood: Any = asyncio.ensure_future(a._session.run(inside.send_numbers, [b.pid, 100, 10_000_000]))
        await b._session.run(inside.heard_numbers, [500])
        a.kill(signal.SIGKILL)
        with pytest.raises(ChannelClosedError):
            await flood
        await a.wait_gone()
        assert await b._session.run(inside.peers, []) == []  # and thus all there will be has come
        heard = await b._session.run(inside.heard_numbers, [await b._session.run(inside.how_many, ["message"])])
        assert heard == list(range(len(heard)))


async def test_a_worker_that_leaves_has_confirmed_what_it_heard() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.hear, ["message"])
        await a._session.run(inside.hear, ["undelivered"])
        await a._session.run(inside.send_numbers, [b.pid, 0, 500])
        assert len(await b._session.run(inside.heard_numbers, [500])) == 500
        await b.disconnect()
        assert await a._session.run(inside.peers, []) == []
        assert await a._session.run(inside.how_many, ["undelivered"]) == 0


async def test_broadcast_while_a_worker_dies() -> None:
    """Also between its end and the moment that the sender has heard of it."""
    async with party(2) as all:
        a, b = all.workers
        await a._session.run(inside.hear, ["message"])
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        @b.on("disconnect")
        async def tell(event: object) -> None:
            await all.primary.broadcast("it has gone")
            told.set_result(None)

        b.kill(signal.SIGKILL)
        await told
        assert await a._session.run(inside.heard_messages, [1]) == [[os.getpid(), "it has gone", 0]]
        assert all.heard("error") == []
