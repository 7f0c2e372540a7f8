"""The slots of a cluster: dense, and inherited by whoever comes next."""

from __future__ import annotations

import logging
import signal
from collections import Counter
from typing import Any

import pytest

from aiocluster import Cluster, ReloadError, RestartPolicy, StartupError
from aiocluster._events.stream import EventStream
from aiocluster.events import Message
from aiocluster.settings import StartMethod
from tests.primary.inside_slots import NAME, tell
from tests.primary.test_slots import BAD, both_ways, name_of

from .inside_cluster import crash


def slots(cluster: Cluster) -> list[int | None]:
    return sorted((worker.slot for worker in cluster.workers.values()), key=str)


async def next_slots(heard: EventStream[Message], count: int) -> list[int | None]:
    """The slots that the next workers tell of themselves; their environment says the same."""
    told = [(await anext(heard)).message for _ in range(count)]
    for facts in told:
        assert facts["variable"] == (None if facts["slot"] is None else str(facts["slot"]))
    return sorted((facts["slot"] for facts in told), key=str)


@both_ways
async def test_a_replacement_inherits_the_slot(start_method: StartMethod) -> None:
    cluster = Cluster(tell, workers=2, agents={"agent": tell}, start_method=start_method)
    async with cluster.events("message") as heard, cluster:
        assert await next_slots(heard, 3) == [0, 1, None]
        assert slots(cluster) == [0, 1]
        assert cluster.agents["agent"].slot is None
        assert {(one.name, one.slot, one.pid) for one in cluster.stats().workers} == {
            (worker.name, worker.slot, worker.pid) for worker in cluster.primary.workers.values()
        }

        next(worker for worker in cluster.workers.values() if worker.slot == 0).kill(signal.SIGKILL)
        assert await next_slots(heard, 1) == [0]
        cluster.agents["agent"].kill(signal.SIGKILL)
        assert await next_slots(heard, 1) == [None]

        shared: list[tuple[int | None, int]] = []  # each new worker's slot, and how many have it when it comes online

        @cluster.on("online")
        def count(event: Any) -> None:
            shared.append((event.worker.slot, Counter(slots(cluster))[event.worker.slot]))

        await cluster.reload()
        assert await next_slots(heard, 3) == [0, 1, None]
        assert sorted(one for one in shared if one[0] is not None) == [(0, 2), (1, 2)]
        assert slots(cluster) == [0, 1]


async def test_scaling_takes_the_highest_and_fills_the_lowest() -> None:
    cluster = Cluster(tell, workers=3)
    async with cluster.events("message") as heard, cluster:
        await next_slots(heard, 3)
        before = {worker.slot: worker for worker in cluster.workers.values()}
        await cluster.scale(1)
        assert list(cluster.workers.values()) == [before[0]]
        await cluster.scale(4)
        assert await next_slots(heard, 3) == [1, 2, 3]
        assert slots(cluster) == [0, 1, 2, 3]


async def test_a_slot_that_was_given_up_stays_free_until_a_reload() -> None:
    cluster = Cluster(tell, workers=3, restart=RestartPolicy(limit=0))
    async with cluster.events("message") as heard, cluster:
        await next_slots(heard, 3)
        by_slot = {worker.slot: worker for worker in cluster.workers.values()}
        by_slot[1].kill(signal.SIGKILL)
        await cluster.wait_for("give_up")
        assert slots(cluster) == [0, 2]
        extra = await cluster.primary.fork()
        assert extra.slot == 3, "one that is none of the cluster's own takes no slot of it"
        assert await next_slots(heard, 1) == [3]
        await cluster.reload()
        assert slots(cluster) == [0, 1, 2, 3]
        assert extra.is_connected()


async def test_an_uncaught_exception(caplog: pytest.LogCaptureFixture) -> None:
    """The replacement comes while the failed one still finishes its work. They share the slot."""
    caplog.set_level(logging.CRITICAL)
    cluster = Cluster(tell, workers=2)
    forked: list[int | None] = []
    async with cluster.events("fork") as heard, cluster:
        cluster.primary.setup(target=crash)
        await cluster.scale(3)
        async for event in heard:
            forked.append(event.worker.slot)
            if len(forked) == 6:
                break
    assert sorted(forked[:3], key=str) == [0, 1, 2]
    assert forked[3:] == [2, 2, 2]


# ---- env as a function


async def test_env_is_called_for_all_slots_when_the_cluster_is_made_and_at_each_fork() -> None:
    asked: list[int] = []

    def env(slot: int) -> dict[str, str]:
        asked.append(slot)
        return name_of(slot)

    cluster = Cluster(tell, workers=2, agents={"agent": tell}, env=env)
    assert asked == [0, 1]
    asked.clear()
    async with cluster.events("message") as heard, cluster:
        told = [(await anext(heard)).message for _ in range(3)]
        assert {facts["slot"]: facts["env"] for facts in told} == {None: None, 0: "of slot 0", 1: "of slot 1"}
        assert asked == [0, 1]
        asked.clear()
        (second,) = (worker for worker in cluster.workers.values() if worker.slot == 1)
        second.kill(signal.SIGKILL)
        assert (await anext(heard)).message["env"] == "of slot 1"
        assert asked == [1]
        asked.clear()
        await cluster.scale(3)
        assert asked == [2]
        asked.clear()
        cluster.primary.setup(env=env)
        assert asked == [0, 1, 2]
        cluster.primary.setup(silent=True)
        assert asked == [0, 1, 2], "only a new one is tried out"


async def test_a_function_that_fails_is_refused_before_anything_is_started() -> None:
    for env, error, text in BAD.values():
        with pytest.raises(error) as caught:
            Cluster(tell, workers=2, env=env)
        assert str(caught.value).startswith(text)
    async with Cluster(tell, workers=1) as cluster:
        for env, _, text in BAD.values():
            cluster.primary.setup(env=env)  # slot 0 alone has variables
            with pytest.raises(StartupError) as caught:
                await cluster.scale(2)
            assert str(caught.value).startswith(text)
            assert slots(cluster) == [0]
        cluster.primary.setup(env=name_of)
        await cluster.scale(2)
        for env, error, text in BAD.values():
            with pytest.raises(error) as caught:
                cluster.primary.setup(env=env)
            assert str(caught.value).startswith(text)
            assert cluster.primary.settings.env is name_of


@both_ways
async def test_a_function_that_fails_later(start_method: StartMethod, caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is a failed start: a reload is given up, and a replacement is tried again."""
    calls = fails = 0

    def env(slot: int) -> dict[str, str]:
        nonlocal calls, fails
        calls += 1
        if fails:
            fails -= 1
            raise LookupError("no device is free")
        return name_of(slot)

    policy = RestartPolicy(backoff=(0.0, 0.01))
    cluster = Cluster(tell, workers=2, env=env, start_method=start_method, restart=policy)
    async with cluster.events("message") as heard, cluster:
        await next_slots(heard, 2)
        before = dict(cluster.workers)
        fails = 1
        with pytest.raises(ReloadError, match="env for slot 0: the function raised LookupError"):
            await cluster.reload()
        assert cluster.workers == before
        fails, calls = 2, 0
        next(worker for worker in before.values() if worker.slot == 1).kill(signal.SIGKILL)
        told = (await anext(heard)).message
        assert (told["slot"], told["env"], calls) == (1, "of slot 1", 3)
    texts = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert any("env for slot 1: the function raised LookupError: no device is free" in text for text in texts), texts
    assert NAME not in "".join(texts)
