"""SIGKILL under load: what is lost, and what is not.

A client may lose a connection that a killed worker had taken. It is never refused, and with round robin every
connection is taken exactly once: what a killed worker had not taken went to another one.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from aiocluster import Cluster, RestartPolicy
from tests.connections.clients import Crowd, gate
from tests.connections.descriptors import no_descriptor_left
from tests.connections.inside import serve
from tests.support.seeds import new_random
from tests.support.serving import Client, serving

FOR_EVER = RestartPolicy(limit=10_000, backoff=(0.0, 0.0))
KINDS = ["round_robin", "shared", "reuse_port"]


async def kill_at_random(scheduling: str, choose: random.Random, kills: int, connections_between: int) -> Crowd:
    cluster = Cluster(serve, workers=3, scheduling=scheduling, restart=FOR_EVER, silent=True)
    backends = []
    cluster.on("fork", lambda event: backends.append(event.worker._session.backend))
    async with serving(cluster, 3) as address:
        async with Crowd(address) as crowd:
            for _ in range(kills):
                await crowd.ended(choose.randrange(connections_between))
                at_work = [worker for worker in cluster.workers.values() if worker._session.life.is_ready]
                if at_work:
                    choose.choice(at_work).kill(signal.SIGKILL)
            await crowd.ended(100)
        if scheduling == "round_robin":
            (port,) = cluster.stats().ports
            assert port.waiting == 0
            assert crowd.ends["reset"] == 0
            assert sum(backend.accepted for backend in backends) == port.accepted == crowd.total
        await cluster.stop(graceful=False)
    assert crowd.ends["refused"] == 0
    assert crowd.ends["reset"] + crowd.ends["lost"] <= kills * crowd.size
    return crowd


@pytest.mark.parametrize("scheduling", KINDS)
async def test_killing_workers_at_random(scheduling: str) -> None:
    await kill_at_random(scheduling, random.Random(scheduling), kills=6, connections_between=150)


@pytest.mark.chaos
@pytest.mark.parametrize("scheduling", KINDS)
async def test_killing_workers_at_random_for_long(scheduling: str) -> None:
    crowd = await kill_at_random(scheduling, new_random(), kills=100, connections_between=400)
    print(f"{scheduling}: {dict(crowd.ends)}")


async def test_what_a_blocked_worker_had_not_taken_survives_its_death(tmp_path: Path) -> None:
    """No connection that it had not read is lost, whatever has reached its channel."""
    cluster = Cluster(serve, workers=2, restart=FOR_EVER)
    async with serving(cluster, 2) as address:
        blocked, _ = cluster.workers.values()
        with gate(tmp_path) as barrier:
            await blocked.send(["block", barrier.path])
            await barrier.reached()
            async with Crowd(address, size=40) as crowd:
                while not blocked._session.backend.under_way:
                    await asyncio.sleep(0.001)
                blocked.kill(signal.SIGKILL)
                await blocked.wait_gone()
            assert set(crowd.ends) == {"answered"}
            assert blocked._session.stats().redispatched >= 1


# ---- reuse_port


async def test_what_waits_for_a_killed_worker_is_served_by_its_replacement() -> None:
    cluster = Cluster(serve, workers=1, scheduling="reuse_port", restart=FOR_EVER)
    async with serving(cluster, 1) as address:
        (doomed,) = cluster.workers.values()
        psutil.Process(doomed.pid).suspend()
        clients = [await Client.connect(address) for _ in range(20)]
        for client in clients:
            await client.send()
        doomed.kill(signal.SIGKILL)
        pids = {await client.answer() for client in clients}
        (replacement,) = cluster.workers.values()
        assert pids == {replacement.pid}
        for client in clients:
            await client.close()


async def test_what_waits_for_a_killed_worker_is_served_by_the_others_meanwhile() -> None:
    cluster = Cluster(serve, workers=3, scheduling="reuse_port", restart=FOR_EVER)
    async with serving(cluster, 3) as address:
        doomed, *_ = cluster.workers.values()
        psutil.Process(doomed.pid).suspend()
        clients = [await Client.connect(address) for _ in range(60)]
        for client in clients:
            await client.send()
        doomed.kill(signal.SIGKILL)
        pids = {await client.answer() for client in clients}
        assert doomed.pid not in pids
        for client in clients:
            await client.close()


async def test_what_waits_for_a_worker_that_goes_for_good_is_kept_while_there_are_no_descriptors() -> None:
    cluster = Cluster(serve, workers=2, scheduling="reuse_port")
    async with serving(cluster, 2) as address:
        leaving, other = cluster.workers.values()
        psutil.Process(leaving.pid).suspend()
        clients = [await Client.connect(address) for _ in range(40)]
        for client in clients:
            await client.send()
        with no_descriptor_left():
            left = asyncio.create_task(leaving.disconnect())
            await asyncio.sleep(0)  # it has been told
            leaving.kill(signal.SIGKILL)
            await left
            await asyncio.sleep(0)
        assert {await client.answer() for client in clients} == {other.pid}
        for client in clients:
            await client.close()


async def test_the_replacement_gets_its_predecessors_socket() -> None:
    cluster = Cluster(serve, workers=2, scheduling="reuse_port", restart=FOR_EVER)
    async with serving(cluster, 2):
        before = _listening_inodes()
        for worker in list(cluster.workers.values()):
            async with cluster.events("listening") as heard:
                worker.kill(signal.SIGKILL)
                await anext(heard)
        assert _listening_inodes() == before
        assert len(before) == 2


def _listening_inodes() -> set[str]:
    """The listening sockets of this process, and so of the kernel's group."""
    mine = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in mine}


# ---- scaling


@pytest.mark.parametrize("scheduling", KINDS)
async def test_scaling_down_and_up_under_load_loses_nothing(scheduling: str) -> None:
    cluster = Cluster(serve, workers=3, scheduling=scheduling)
    async with serving(cluster, 3) as address, Crowd(address) as crowd:
        for workers in (1, 3, 2, 1):
            await cluster.scale(workers)
            await crowd.ended(100)
    assert set(crowd.ends) == {"answered"}


@pytest.mark.parametrize("scheduling", KINDS)
async def test_reloading_under_load_loses_nothing(scheduling: str) -> None:
    cluster = Cluster(serve, workers=2, scheduling=scheduling)
    async with serving(cluster, 2) as address, Crowd(address) as crowd:
        for _ in range(2):
            await cluster.reload()
            await crowd.ended(100)
    assert set(crowd.ends) == {"answered"}


@pytest.mark.chaos
@pytest.mark.parametrize("scheduling", KINDS)
async def test_scaling_and_reloading_for_long_loses_nothing(scheduling: str) -> None:
    cluster = Cluster(serve, workers=3, scheduling=scheduling)
    choose = new_random()
    until = time.monotonic() + 20
    async with serving(cluster, 3) as address, Crowd(address) as crowd:
        while time.monotonic() < until:
            await cluster.scale(choose.randint(1, 4))
            await cluster.reload()
    assert set(crowd.ends) == {"answered"}
