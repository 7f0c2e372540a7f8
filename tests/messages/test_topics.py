"""Topics between real processes: who hears what, and what the end of one of them means to the others."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from aiocluster import ChannelClosedError, Cluster, ClusterError, Primary
from aiocluster._wire.publication import TOPIC_WINDOW

from . import inside, inside_topics
from .party import is_stopped, party


async def take(messages: Any, count: int) -> list[Any]:
    return [await anext(messages) for _ in range(count)]


async def test_workers_agents_and_the_primary_hear_each_other() -> None:
    is_uvloop = type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    cluster = Cluster(
        inside.stay, workers=2, agents={"one": inside_topics.stay}, loop="auto" if is_uvloop else "asyncio"
    )
    with pytest.raises(ClusterError, match="inside"):
        await cluster.publish("news", 1)
    async with cluster:
        a, b = (worker._session for worker in cluster.workers.values())
        agent = cluster.agents["one"]._session
        for session in (a, b, agent):
            await session.run(inside_topics.subscribe, [["news"]])
        await b.run(inside_topics.subscribe, [["for b", "more"], "drop_oldest"])
        async with cluster.subscribe("news", "for the primary") as messages:
            await cluster.publish("news", {"from": "the primary"})
            await cluster.publish("for b", "from the primary")
            assert await b.run(inside_topics.take, [1, 1]) == [["for b", os.getpid(), "from the primary"]]
            for session in (a, b, agent):
                heard = await session.run(inside_topics.take, [1])
                assert heard == [["news", os.getpid(), {"from": "the primary"}]]
            for session in (a, agent):
                await session.run(inside_topics.publish, ["news", session.pid, b"x" * 100_000])
                for hearer in (a, b, agent):
                    assert await hearer.run(inside_topics.take, [2]) == [
                        ["news", session.pid, session.pid],
                        ["news", session.pid, b"x" * 100_000],
                    ]
            await a.run(inside_topics.publish, ["for the primary", 1])
            await a.run(inside_topics.publish, ["for nobody", 2])
            heard = await take(messages, 6)
            assert (heard[0], heard[1], heard[5]) == ({"from": "the primary"}, a.pid, 1)
            assert (messages.topic, messages.sender, messages.dropped) == ("for the primary", a.pid, 0)
            assert cluster.stats().workers[0].messages + cluster.stats().workers[1].messages >= 4
            left = asyncio.create_task(anext(messages))
            await cluster.stop()
            await cluster._primary.__aexit__()
            with pytest.raises(StopAsyncIteration):
                await left
        for use in (cluster.publish("news", 1), cluster.subscribe("news").__aenter__()):
            with pytest.raises(ChannelClosedError):
                await use
    assert not cluster._primary._shared.topics._topics


async def test_a_stopped_subscriber_slows_down_its_topic_alone_and_loses_nothing() -> None:
    async with party(3) as all:
        a, b, c = (worker._session for worker in all.workers)
        await b.run(inside_topics.subscribe, [["numbers"]])
        await c.run(inside_topics.subscribe, [["numbers", "other"], "drop_oldest"])
        b.kill(signal.SIGSTOP)
        await is_stopped(b.worker)
        cost = await a.run(inside_topics.begin_numbers, ["numbers", 0, 1000, 2000])
        assert TOPIC_WINDOW <= cost < 1.2 * TOPIC_WINDOW
        await a.run(inside_topics.publish, ["other", "comes through"])
        async with asyncio.timeout(20):
            while (await c.run(inside_topics.take, [1]))[0][2] != "comes through":
                pass
        b.kill(signal.SIGCONT)
        assert await b.run(inside_topics.count_up_to, [999]) == [1000, True, 0]
        await a.run(inside_topics.has_published, [])
        assert all.events == []


async def test_the_end_of_subscribers_and_publishers() -> None:
    async with party(3) as all:
        a, b, c = (worker._session for worker in all.workers)
        for session in (b, c):
            await session.run(inside_topics.subscribe, [["numbers"]])
        await a.run(inside_topics.begin_numbers, ["numbers", 0, 2000, 1000])
        counting = asyncio.create_task(c.run(inside_topics.count_up_to, [1999]))
        b.kill(signal.SIGKILL)  # it has taken nothing
        assert await counting == [2000, True, 0]
        await a.run(inside_topics.has_published, [])
        board = all.primary._shared.topics
        assert list(board._topics) == ["numbers"]
        for session in (a, c):
            await session.worker.disconnect()
            assert (await session.worker.wait()).code == 0  # an open subscription keeps nobody from leaving
        assert not any((board._topics, board._numbers))


async def test_a_publisher_that_is_killed() -> None:
    async with (
        Primary(inside_topics.kill_oneself_while_publishing) as primary,
        primary.subscribe("lines", "long") as heard,
    ):
        worker = await primary.fork()
        await worker.wait_for("online")
        await worker.send("begin")
        taken: list[Any] = []

        async def take_all() -> None:
            async for message in heard:
                taken.append(message)

        taking = asyncio.create_task(take_all())
        assert (await worker.wait()).signal == signal.SIGKILL
        await primary.publish("lines", "the end")  # its own are heard at once, and so may be before
        async with asyncio.timeout(20):
            while len(primary._shared.topics._topics["lines"].flows) > 1:
                await asyncio.sleep(0.002)
        taking.cancel()
        await asyncio.wait([taking])
        numbers = [message[0] for message in taken if isinstance(message, list)]
        assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("target", [inside_topics.iterate, inside_topics.one_loop_after_the_other])
async def test_who_iterates_leaves_when_it_is_told_to(target: Any) -> None:
    async with Primary(target) as primary:
        said: asyncio.Queue[Any] = asyncio.Queue()
        primary.on("message", lambda event: said.put_nowait(event.message))
        worker = await primary.fork()
        assert await said.get() == "subscribed"
        if target is inside_topics.one_loop_after_the_other:
            await primary.publish("lines", "for the loop that ends")
            await worker.send("go on")
            assert await said.get() == "subscribed"
        await primary.publish("lines", ["a", "line"])
        line = await said.get()
        if line == "for the loop that ends":  # the process has subscribed all the time: it may have come late
            line = await said.get()
        assert line == ["a", "line"]
        await worker.disconnect()
        end = await worker.wait()
        assert (end.code, end.reason) == (0, "told")
