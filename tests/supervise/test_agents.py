"""Agents: one process each, beside the workers."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from aiocluster import (
    Cluster,
    ReloadError,
    RemoteError,
    RestartLimitError,
    RestartPolicy,
    StartupError,
    TargetError,
    current_worker,
)
from aiocluster.events import Address
from tests.support.serving import Client, ask, serving

from .inside_agents import ask_the_counter_when_told, broadcast_when_told, hold_file
from .inside_cluster import crash, serve


async def count() -> None:
    """Gives each request the next number."""
    worker = current_worker()
    given = 0

    def next_number(message: Any, sender: int) -> list[Any]:
        nonlocal given
        given += 1
        return [worker.name, given]

    worker.handle_requests(next_number)
    await asyncio.Event().wait()


async def test_any_worker_reaches_it_by_name() -> None:
    cluster = Cluster(ask_the_counter_when_told, workers=3, agents={"counter": count, "other": count})
    async with cluster:
        answers = [await worker.request("counter") for worker in cluster.workers.values()]
        assert answers == [["counter", 1], ["counter", 2], ["counter", 3]]
        worker, *_ = cluster.workers.values()
        assert await worker.request("other") == ["other", 1]
        with pytest.raises(RemoteError, match="no connected worker has the name 'nobody'"):
            await worker.request("nobody")
        assert await cluster.agents["counter"].request("me too") == ["counter", 4]


async def test_they_are_no_workers() -> None:
    cluster = Cluster(serve, workers=2, agents={"counter": count})
    async with serving(cluster, 2) as address:
        agent = cluster.agents["counter"]
        assert agent.name == "counter"
        assert agent not in cluster.workers.values()
        assert agent in cluster.primary.workers.values()
        assert len(cluster.workers) == 2
        assert {await ask(address) for _ in range(4)} == {worker.pid for worker in cluster.workers.values()}
        assert [stats.name for stats in cluster.stats().workers] == ["counter", None, None]
        await cluster.scale(1)
        assert cluster.agents["counter"] is agent
        assert not agent._session.life.is_leaving


async def answered_by(address: Address, client: str) -> int:
    """Who answers a client with that address."""
    reader, writer = await asyncio.open_connection(address.host, address.port, local_addr=(client, 0))
    try:
        return await Client(reader, writer).ask()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_one_that_shares_a_port_has_its_share_whatever_the_policy_goes_by() -> None:
    """It is in no worker's slot: of two in the same slot, a policy that goes by slots takes the later one."""
    cluster = Cluster(serve, workers=1, agents={"also": serve}, scheduling="ip_hash")
    async with serving(cluster, 2) as address:
        answers = {await answered_by(address, f"127.0.0.{number}") for number in range(1, 33)}
        assert answers == {worker.pid for worker in cluster.primary.workers.values()}


async def test_they_are_there_before_the_workers_and_until_after_them() -> None:
    cluster = Cluster(serve, workers=2, agents={"a": count, "b": count})
    story: list[tuple[str, str | None]] = []
    for name in ("fork", "online", "exit"):
        cluster.on(name, lambda event: story.append((event.name, event.worker.name)))
    async with cluster:
        pass
    assert sorted(story[:4], key=str) == sorted([("fork", "a"), ("fork", "b"), ("online", "a"), ("online", "b")])
    assert story.index(("fork", None)) == 4
    assert sorted(story[-2:]) == [("exit", "a"), ("exit", "b")]


async def test_what_is_for_all_workers_is_not_for_them() -> None:
    cluster = Cluster(broadcast_when_told, workers=2, agents={"a": broadcast_when_told, "b": broadcast_when_told})
    async with cluster, cluster.events("message") as heard:
        pids = {worker.pid for worker in cluster.workers.values()}
        agent = cluster.agents["a"]
        assert set(await agent.request("from an agent")) == pids
        assert [(await anext(heard)).message for _ in range(3)] == [[None, "from an agent"]] * 3
        worker, other = cluster.workers.values()
        assert await worker.request("from a worker") == [other.pid]
        assert [(await anext(heard)).message for _ in range(2)] == [[None, "from a worker"]] * 2
        await cluster.broadcast("from the primary")
        assert [(await anext(heard)).message for _ in range(2)] == [[None, "from the primary"]] * 2
        await agent.send("for you alone")
        assert (await anext(heard)).message == ["a", "for you alone"]


async def test_it_is_restarted() -> None:
    cluster = Cluster(ask_the_counter_when_told, workers=1, agents={"counter": count})
    async with cluster, cluster.events("online") as heard:
        (worker,) = cluster.workers.values()
        killed = cluster.agents["counter"]
        killed.kill(signal.SIGKILL)
        new = (await anext(heard)).worker
        assert new.name == "counter"
        assert new.pid != killed.pid
        while cluster.agents["counter"] is not new:
            await asyncio.sleep(0)
        await new._session.wait_ready()
        assert await worker.request("counter") == ["counter", 1]
        assert cluster.stats().restarts == 1


async def test_it_is_given_up_like_a_worker() -> None:
    policy = RestartPolicy(limit=2, backoff=(0.0, 0.01))
    with pytest.raises(RestartLimitError, match="crashed as it should"):
        async with Cluster(serve, workers=1, agents={"broken": crash}, restart=policy, silent=True) as cluster:
            await cluster.serve_forever()


async def test_one_that_does_not_come_up_keeps_the_workers_from_starting() -> None:
    forks: list[str | None] = []
    cluster = Cluster(serve, workers=1, agents={"broken": count})
    cluster.on("fork", lambda event: forks.append(event.worker.name))
    cluster.primary.setup(executable="/bin/false")
    with pytest.raises(StartupError, match="by exit code 1"):
        async with cluster:
            pytest.fail("entered")
    assert forks == ["broken"]


def test_a_bad_target_is_known_at_once() -> None:
    with pytest.raises(TargetError):
        Cluster(serve, agents={"broken": "no/such/script.py"})


# ---- never two at once


async def test_there_are_never_two_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    cluster = Cluster(serve, workers=1, agents={"holder": hold_file}, env={"FILE_OF_TEST": str(file)})
    errors: list[Any] = []
    async with cluster.events("online") as heard, cluster:
        cluster.on("error", lambda event: errors.append(str(event.error)))

        async def held(times: int) -> None:
            while not file.exists() or file.read_text() != "held\n" * times:
                await asyncio.sleep(0.01)

        await held(1)
        await cluster.reload()
        await held(2)
        crashing = cluster.agents["holder"]
        await crashing.send("crash")
        await held(3)
        while cluster.agents["holder"] is crashing:
            await asyncio.sleep(0)
        cluster.agents["holder"].kill(signal.SIGKILL)
        await held(4)
        assert (await anext(heard)).worker.name == "holder"
    assert len(errors) == 1
    assert "crashed as told" in errors[0]


async def test_a_reload_that_fails_leaves_it_to_the_restart_policy(tmp_path: Path) -> None:
    script = tmp_path / "agent_of_test.py"
    well = "import asyncio\nasync def main():\n    await asyncio.Event().wait()\nasyncio.run(main())\n"
    script.write_text(well)
    cluster = Cluster(
        serve, workers=1, agents={"agent": script}, restart=RestartPolicy(limit=1000, backoff=(0.0, 0.05))
    )
    async with serving(cluster, 1) as address, cluster.events("online") as heard:
        moved = script.rename(tmp_path / "moved")
        with pytest.raises(ReloadError, match="agent_of_test"):
            await cluster.reload()
        (worker,) = cluster.workers.values()
        assert await ask(address) == worker.pid
        moved.rename(script)
        new = (await anext(heard)).worker
        assert new.name == "agent"
        while cluster.agents["agent"] is not new:
            await asyncio.sleep(0)
        await cluster.reload()
        assert new.exited_after_disconnect
