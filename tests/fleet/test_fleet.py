"""Two clusters with the same backplane: they know each other's workers, which send to each other and publish."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from aiocluster import (
    Agent,
    BackplaneError,
    Cluster,
    ClusterError,
    RemoteError,
    StartupError,
)
from tests.fleet.inside_fleet import wait
from tests.fleet.runs import Heard, address, all_know_all, cluster, first, lines, until, writers
from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio


async def test_workers_of_two_clusters_reach_each_other(redis_server: RedisServer, worker_loop: Any) -> None:
    options = {"workers": 2, "loop": worker_loop}
    async with cluster(redis_server.url, **options) as here, cluster(redis_server.url, **options) as there:
        at_here, at_there = Heard(here), Heard(there)
        sent: list[Any] = []
        here.on("message", lambda event: sent.append([event.sender, event.message]))
        here.handle_requests(lambda request, sender: [request, sender])
        await all_know_all(here, there)
        assert here.fleet.name == "shop"
        assert here.fleet.host != there.fleet.host

        one, other = first(here), first(there)
        assert await one.request(["ask", address(there), ["echo", "hi"]]) == [other.pid, "hi", address(here)]
        neighbour = max(worker.pid for worker in here.workers.values() if worker is not one)
        to = f"{here.fleet.host}/{neighbour}"
        assert await one.request(["ask", to, ["echo", "near"]]) == [neighbour, "near", one.pid]
        await asyncio.gather(*(one.request(["ask", address(there), ["echo", "x" * 40_000]]) for _ in range(20)))
        for number in range(200):
            await one.request(["send", address(there), [number, "x" * number * 40]])
        await at_there.has(["got", address(here), [199, "x" * 199 * 40]])
        assert [message[2][0] for message in at_there if message[0] == "got"] == list(range(200))
        await other.request(["send", address(here), "y" * 1_000_000])
        await at_here.has(["got", address(there), "y" * 1_000_000])

        await one.request(["broadcast", "to all"])
        await at_there.has(["got", address(here), "to all"])
        await until(lambda: [m for m in at_there if m[2] == "to all"] == [["got", address(here), "to all"]] * 2)
        await at_here.has(["got", one.pid, "to all"])

        at_there.clear()
        primary = f"{here.fleet.host}/{os.getpid()}"
        for number in range(10):
            await here.fleet.broadcast(["from a primary", number])
        await at_there.has(["got", primary, ["from a primary", 9]])
        await other.request(["send", primary, "to a primary"])
        assert await other.request(["ask", primary, "a primary"]) == ["a primary", address(there)]
        await until(lambda: [address(there), "to a primary"] in sent)

        with pytest.raises(RemoteError, match="WorkerNotFoundError"):
            await one.request(["send", f"{there.fleet.host}/1", "nobody"])
        with pytest.raises(RemoteError, match=r"WorkerNotFoundError.*there is " + there.fleet.host):
            await one.request(["send", "elsewhere/1", "nobody"])

        # A worker that is gone: what it has not acknowledged comes back, and what it was asked fails.
        asked = asyncio.ensure_future(one.request(["ask", address(there), ["never"]]))
        to = address(there)
        os.kill(other.pid, signal.SIGSTOP)
        await one.request(["send", to, "too late"])
        other.kill(signal.SIGKILL)
        await at_here.has(["undelivered", to, "too late"])
        with pytest.raises(RemoteError, match="ChannelClosedError"):
            await asked


async def test_topics_reach_all_clusters(redis_server: RedisServer, worker_loop: Any) -> None:
    async with cluster(redis_server.url, loop=worker_loop) as here, cluster(redis_server.url) as there:
        at_there = Heard(there)
        await all_know_all(here, there)
        await first(there).request(["subscribe", "news"])
        for number in range(300):
            assert await first(here).request(["publish", "news", number]) is None
        await first(here).request(["publish", "weather", "rain"])
        await here.publish("news", "z" * 200_000)
        await there.publish("news", "from its own primary")
        sender = address(here)
        primary = f"{here.fleet.host}/{os.getpid()}"
        await at_there.has(
            ["heard", "news", primary, "z" * 200_000], ["heard", "news", os.getpid(), "from its own primary"]
        )
        heard = [message for message in at_there if message[2] == sender]
        assert heard == [["heard", "news", sender, number] for number in range(300)]

        async with there.subscribe("chat") as messages, here.subscribe("chat", on_full="drop_oldest") as others:
            await here.publish("chat", "hello")
            assert (await anext(messages), messages.sender) == ("hello", primary)
            assert (await anext(others), others.sender) == ("hello", os.getpid())
            await there.publish("chat", "hello too")
            assert (await anext(messages), messages.sender) == ("hello too", os.getpid())
            assert (await anext(others), others.sender) == ("hello too", f"{there.fleet.host}/{os.getpid()}")


async def test_one_agent_in_the_fleet(redis_server: RedisServer, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with cluster(redis_server.url, journal=journal) as here:
        await until(lambda: lines(journal))
        async with cluster(redis_server.url, journal=journal) as there:
            assert list(here.agents) == ["job"]
            crashed = here.agents["job"].pid
            os.kill(crashed, signal.SIGKILL)
            await until(lambda: writers(journal)[1:])
            assert list(there.agents) == []
            await here.reload()
            await until(lambda: writers(journal)[2:])
            await here.stop()
            await here.__aexit__()
            await until(lambda: writers(journal)[3:])
            assert writers(journal)[3] == there.agents["job"].pid
    assert len({line.token for line in lines(journal)}) == 2


async def test_without_redis_all_goes_on_here_and_publish_says_so(own_redis: RedisServer) -> None:
    async with cluster(own_redis.url, workers=2, fleet_lease=1.0) as here:
        heard = Heard(here)
        changes = here.events("backplane")
        async with here.subscribe("news") as messages:
            own_redis.kill()
            lost = await anext(changes)
            assert not lost.connected
            assert own_redis.url in str(lost.error)
            await heard.has(["backplane", False])
            error = await first(here).request(["publish", "news", 1])
            assert error.startswith("published in this cluster only: ")
            assert await anext(messages) == 1
            await asyncio.sleep(1.2)  # past the lease
            assert await first(here).request(["echo", 2])
            assert list(here.fleet.members) == [here.fleet.host]
            own_redis.start()
            assert (await anext(changes)).connected
            await heard.has(["backplane", True])
            async with cluster(own_redis.url) as there:
                await there.publish("news", 3)  # it is subscribed to again
                assert await anext(messages) == 3
                assert await first(here).request(["publish", "news", 4]) is None


async def test_a_fleet_of_another_name_is_another_fleet(redis_server: RedisServer) -> None:
    async with cluster(redis_server.url) as here, cluster(redis_server.url, fleet="shop-2") as there:
        async with there.subscribe("news") as messages:
            await here.publish("news", 1)
            await there.publish("news", 2)
            assert await anext(messages) == 2
        assert list(here.fleet.members) == [here.fleet.host]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("unix:///nowhere/redis.sock", "unix:///nowhere/redis.sock can't be reached"),
        ("mysql://somebody:secret@localhost/0", r"mysql://somebody:\*\*\*@localhost/0"),
    ],
)
async def test_a_backplane_that_can_t_be_had_is_one_clear_error(url: str, text: str) -> None:
    with pytest.raises(BackplaneError, match=text) as caught:
        async with cluster(url):
            pass
    assert isinstance(caught.value, StartupError)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_one_setting_without_the_other_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="backplane needs fleet"):
        Cluster(wait, backplane="redis://localhost")
    with pytest.raises(ValueError, match="fleet needs backplane"):
        Cluster(wait, fleet="shop")
    with pytest.raises(ValueError, match="'cron' is to be one in the fleet"):
        Cluster(wait, agents={"cron": Agent(wait, once="fleet")})
    with pytest.raises(ValueError, match="once must be one of"):
        Agent(wait, once="always")  # type: ignore[arg-type]
    monkeypatch.setenv("AIOCLUSTER_FLEET", "shop")
    with pytest.raises(ValueError, match="fleet needs backplane"):
        Cluster(wait)
    monkeypatch.setenv("AIOCLUSTER_BACKPLANE", "redis://:secret@localhost")
    fleet = Cluster(wait)
    assert "secret" not in repr(fleet.primary.settings)
    with pytest.raises(ClusterError, match="in no fleet"):
        _ = fleet.fleet
