"""Where connections that stay are placed, by how much their workers have to do."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiocluster import Cluster
from aiocluster.events import Address
from tests.connections.inside_staying import serve
from tests.support.serving import Client, ask, serving

WORKERS = 4


@asynccontextmanager
async def staying(address: Address, count: int) -> AsyncIterator[list[tuple[Client, int]]]:
    """So many connections, one after the other, with the pid of the worker that each has got."""
    clients: list[tuple[Client, int]] = []
    try:
        for _ in range(count):
            client = await Client.connect(address)
            clients.append((client, await client.ask()))
        yield clients
    finally:
        for client, _ in clients:
            await client.close()


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


def busy(cluster: Cluster) -> dict[int, float]:
    """How busy the workers are, by pid."""
    return {stats.pid: stats.busy or 0.0 for stats in cluster.stats().workers}


def evenly(cluster: Cluster, each: int) -> dict[int, int]:
    return {worker.pid: each for worker in cluster.workers.values()}


async def test_a_worker_whose_connections_keep_it_busy_gets_hardly_any(worker_loop: Any) -> None:
    cluster = Cluster(serve, workers=WORKERS, scheduling="least_busy", heartbeat=0.1, loop=worker_loop)
    async with serving(cluster, WORKERS) as address, staying(address, 40) as clients:
        assert Counter(pid for _, pid in clients) == evenly(cluster, 10)
        at_work = clients[0][1]

        async def keep_busy(client: Client) -> None:
            while True:
                await client.ask("/0.01")

        tasks = [asyncio.create_task(keep_busy(client)) for client, pid in clients if pid == at_work]
        try:
            await until(lambda: busy(cluster)[at_work] > 0.7)
            assert all(share < 0.3 for pid, share in busy(cluster).items() if pid != at_work)
            async with staying(address, 12) as more:
                assert Counter(pid for _, pid in more)[at_work] <= 1
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_after_a_load_of_uneven_requests_connections_are_even(worker_loop: Any) -> None:
    """A connection for each request; they block their workers for 4 ms, one in twenty for 100 ms."""
    cluster = Cluster(serve, workers=WORKERS, scheduling="least_busy", heartbeat=0.1, loop=worker_loop)
    async with serving(cluster, WORKERS) as address:
        chance = random.Random(1)
        loop = asyncio.get_running_loop()
        until_then = loop.time() + 2.0
        requests = []
        while loop.time() < until_then:
            await asyncio.sleep(chance.expovariate(270))
            requests.append(asyncio.create_task(ask(address, "/0.1" if chance.random() < 0.05 else "/0.004")))
        await asyncio.gather(*requests)
        assert max(busy(cluster).values()) > 0.1
        await until(lambda: not any(worker.connections for worker in cluster.workers.values()))
        async with staying(address, 40) as clients:
            assert Counter(pid for _, pid in clients) == evenly(cluster, 10)
