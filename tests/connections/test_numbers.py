"""What the numbers say, and that nothing is left after ten thousand connections."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import psutil
import pytest

from aiocluster import Cluster
from aiocluster.stats import ClusterStats
from tests.connections.clients import Crowd
from tests.connections.inside import serve
from tests.support.serving import Client, serving


def _sum(stats: ClusterStats, field: str) -> int:
    return sum(int(getattr(worker, field)) for worker in stats.workers)


@pytest.mark.parametrize("scheduling", ["round_robin", "url_hash", "shared", "reuse_port"])
async def test_the_numbers_add_up(scheduling: str) -> None:
    cluster = Cluster(serve, workers=2, scheduling=scheduling)
    async with serving(cluster, 2) as address:
        clients = [await Client.connect(address) for _ in range(10)]
        for client in clients:
            await client.ask()
        for client in clients[:4]:
            await client.close()
        while _sum(cluster.stats(), "connections") > 6:
            await asyncio.sleep(0.001)
        stats = cluster.stats()
        assert _sum(stats, "accepted") == 10
        assert _sum(stats, "connections") == 6
        (port,) = stats.ports
        assert (port.address, port.scheduling, port.waiting) == (address, scheduling, 0)
        assert port.accepted == (0 if scheduling in ("shared", "reuse_port") else 10)
        for client in clients[4:]:
            await client.close()
        while _sum(cluster.stats(), "connections"):
            await asyncio.sleep(0.001)


async def test_the_numbers_of_a_stopped_and_killed_worker() -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address:
        stopped, other = cluster.workers.values()
        psutil.Process(stopped.pid).suspend()
        clients = [await Client.connect(address) for _ in range(20)]
        for client in clients:
            await client.send()
        while cluster.stats().ports[0].accepted < 20 or other._session.backend.under_way:
            await asyncio.sleep(0.001)
        sent = stopped._session.backend.under_way
        assert 1 <= sent <= 10
        assert cluster.stats().ports[0].waiting == sent
        assert other._session.stats().accepted == 20 - sent
        assert stopped._session.stats().connections == 0
        stopped.kill(signal.SIGKILL)
        for client in clients:
            await client.answer()
        assert stopped._session.stats().redispatched == sent
        assert stopped._session.stats().accepted == stopped._session.stats().returned == 0
        assert cluster.stats().restarts == 1
        assert _sum(cluster.stats(), "accepted") == 20
        assert cluster.stats().ports[0].waiting == 0
        for client in clients:
            await client.close()


@pytest.mark.parametrize("scheduling", ["round_robin", "url_hash", "shared", "reuse_port"])
async def test_after_many_connections_no_descriptor_is_left(scheduling: str) -> None:
    await no_descriptor_is_left(scheduling, 1_000)


@pytest.mark.chaos
@pytest.mark.parametrize("scheduling", ["round_robin", "url_hash", "shared", "reuse_port"])
async def test_after_ten_thousand_connections_no_descriptor_is_left(scheduling: str) -> None:
    await no_descriptor_is_left(scheduling, 10_000)


async def no_descriptor_is_left(scheduling: str, connections: int) -> None:
    cluster = Cluster(serve, workers=2, scheduling=scheduling)
    async with serving(cluster, 2) as address:
        workers = list(cluster.workers.values())
        async with Crowd(address) as crowd:  # libuv keeps a descriptor from the first connection on
            while not all(worker._session.stats().accepted for worker in workers):
                await crowd.ended(1)
        await _settled(cluster)
        before = _sum(cluster.stats(), "accepted")
        here = len(os.listdir("/proc/self/fd"))
        there = [await worker.request(["descriptors"]) for worker in workers]
        async with Crowd(address) as crowd:
            await crowd.ended(connections * 3 // 4)
            for _ in range(connections // 4):  # and some that say nothing
                with socket.socket() as sock:
                    sock.setblocking(False)
                    await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
        assert set(crowd.ends) == {"answered"}
        await _settled(cluster)
        assert len(os.listdir("/proc/self/fd")) == here
        assert [await worker.request(["descriptors"]) for worker in workers] == there
        stats = cluster.stats()
        assert _sum(stats, "accepted") == before + crowd.total + connections // 4


async def _settled(cluster: Cluster) -> None:
    """Returns when every connection has been taken and closed."""
    while _sum(cluster.stats(), "connections") or cluster.stats().ports[0].waiting:
        await asyncio.sleep(0.001)
