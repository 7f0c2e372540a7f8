"""workers=(low, high): more of them when connections wait, fewer when the rest will do, and no client notices."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiocluster import Cluster, RestartLimitError, RestartPolicy
from aiocluster._supervise.demand import Demand, Pace
from aiocluster.events import Address
from tests.support.events import several
from tests.support.serving import Client, ask, serving

from .inside_range import serve, serve_in_the_first_two, serve_until_asked
from .load import Load
from .test_scale import serving_until_sigterm

BUSY = "/0.03"
"""What keeps a worker busy for 30 ms."""


def ranging(target: Any = serve, *, patience: float = 0.4, settle: float = 0.3, **settings: Any) -> Cluster:
    """A cluster of two to six workers that is less patient than others."""
    settings = {"workers": (2, 6), "start_method": "template", "heartbeat": 0.1, **settings}
    cluster = Cluster(target, **settings)
    pace = Pace(settle=settle, patience=patience, most_patience=patience, look=0.05)
    cluster._reconciler.autoscaler.demand = Demand(pace)
    return cluster


def slots(cluster: Cluster) -> list[int]:
    return [-1 if worker.slot is None else worker.slot for worker in cluster.workers.values()]


@asynccontextmanager
async def grown(cluster: Cluster, address: Address, workers: int = 4) -> AsyncIterator[Load]:
    """Keeps a load up from which at least so many workers come to serve."""
    async with cluster.events("listening") as heard, Load(address, target=BUSY) as load:
        while sum(worker.state == "listening" for worker in cluster.workers.values()) < workers:
            await anext(heard)
        yield load


async def shrunk(cluster: Cluster, workers: int = 2) -> None:
    async with cluster.events("exit") as heard:
        while len(cluster.workers) > workers:
            await anext(heard)


@pytest.mark.parametrize("method", ["template", "spawn"])
async def test_more_while_clients_wait_and_fewer_afterwards(method: str) -> None:
    cluster = ranging(start_method=method)
    left = []
    async with serving(cluster, 2) as address:
        cluster.on("exit", lambda event: left.append((event.worker.slot, event.reason)))
        assert slots(cluster) == [0, 1]
        async with grown(cluster, address) as load:
            most = len(cluster.workers)
            await load.goes_on(50)
        assert load.errors == []
        await shrunk(cluster)
        assert sorted(slots(cluster)) == [0, 1]
        gone = [slot for slot, _ in left]
        assert gone == sorted(gone, reverse=True)
        assert len(gone) >= most - 2
        assert {reason for _, reason in left} == {"told"}
        assert cluster.stats().bounds == (2, 6)
        assert cluster.stats().restarts == 0


async def test_no_client_notices_that_workers_leave() -> None:
    """A connection per request, never enough for more than two workers, while the others leave one by one."""
    cluster = ranging()
    async with serving(cluster, 2) as address:
        async with grown(cluster, address):
            pass
        async with Load(address, clients=2, target="/0.001") as load:
            await shrunk(cluster, 3)
            await load.goes_on(20)
        assert load.errors == []


async def test_a_kept_connection_ends_when_its_client_ends_it() -> None:
    cluster = ranging()
    async with serving(cluster, 2) as address:
        async with grown(cluster, address):
            clients = [await Client.connect(address) for _ in range(24)]
            pids = [await client.ask("/0") for client in clients]
        leaving = {worker.pid for worker in cluster.workers.values() if worker.slot not in (0, 1)}
        assert leaving & set(pids)
        async with cluster.events("disconnect") as heard:
            while any(w.state == "listening" and w.slot not in (0, 1) for w in cluster.workers.values()):
                await asyncio.sleep(0.01)
            for client, pid in zip(clients, pids, strict=True):
                if pid not in leaving:
                    assert await client.ask("/0") == pid
            for client in clients:
                await client.close()
            for _ in leaving:
                await anext(heard)
        await shrunk(cluster)


async def test_bounds_are_moved_by_scale() -> None:
    cluster = ranging()
    async with serving(cluster, 2) as address:
        await cluster.scale((3, 5))
        assert (slots(cluster), cluster.stats().bounds) == ([0, 1, 2], (3, 5))
        async with grown(cluster, address, workers=5) as load:
            await load.goes_on(50)
            assert sorted(slots(cluster)) == [0, 1, 2, 3, 4]
            await cluster.scale(2)
            assert (slots(cluster), cluster.stats().bounds) == ([0, 1], (2, 2))
            await load.goes_on(50)
            assert slots(cluster) == [0, 1]
        assert load.errors == []


async def test_bounds_are_moved_by_signals() -> None:
    cluster = ranging(start_method="spawn")
    async with serving(cluster, 2), serving_until_sigterm(cluster), several(cluster, "listening", "exit") as heard:
        for number, workers, bounds in [
            (signal.SIGTTIN, 3, (3, 7)),
            (signal.SIGTTIN, 4, (4, 8)),
            (signal.SIGTTOU, 3, (3, 7)),
        ]:
            os.kill(os.getpid(), number)
            while len(cluster.workers) != workers or cluster.stats().bounds != bounds:
                await anext(heard)


async def test_a_reload_during_a_burst() -> None:
    cluster = ranging()
    async with serving(cluster, 2) as address, cluster.events("fork") as forks:
        async with grown(cluster, address, workers=3) as load:
            before = set(cluster.workers)
            await cluster.reload()
            assert not before & set(cluster.workers)
            await load.goes_on(50)
            await cluster.reload()
        assert load.errors == []
        assert (await anext(forks)).worker.slot is not None
        await shrunk(cluster)


async def test_additional_workers_that_fail_are_nobodys_failure(caplog: pytest.LogCaptureFixture) -> None:
    cluster = ranging(serve_in_the_first_two, restart=RestartPolicy(limit=1))
    async with serving(cluster, 2) as address, cluster.events("exit") as heard:
        async with Load(address, target=BUSY) as load:
            for _ in range(3):
                await anext(heard)
            await cluster.scale((2, 3))  # what the user asks for does not fail with them
            await cluster.reload()
            await load.goes_on(50)
        assert load.errors == []
        assert sorted(slots(cluster))[:2] == [0, 1]
        assert cluster.stats().restarts == 0
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) <= 2, [record.getMessage() for record in told]


async def test_an_application_that_crashes_is_not_given_more_workers() -> None:
    cluster = ranging(serve_until_asked, restart=RestartPolicy(limit=3, backoff=(0.05, 0.1)))
    forked = []
    cluster.on("fork", lambda event: forked.append(event.worker.slot))
    with pytest.raises(RestartLimitError):
        async with serving(cluster, 2) as address, cluster.events("exit") as heard:
            with pytest.raises(asyncio.IncompleteReadError):
                await ask(address)
            await anext(heard)  # until then nobody could know
            async with Load(address) as load:
                await cluster.serve_forever()
                load.over()
    assert set(forked) == {0, 1}


async def test_a_worker_that_the_load_has_added_is_replaced_like_the_others() -> None:
    cluster = ranging(patience=60.0)
    async with serving(cluster, 2) as address, cluster.events("listening") as heard:
        async with grown(cluster, address, workers=3):
            pass
        number = len(cluster.workers)
        last = max(cluster.workers.values(), key=lambda worker: worker.slot or 0)
        last.kill(signal.SIGKILL)
        while (event := await anext(heard)).worker.slot != last.slot or event.worker.id == last.id:
            pass
        assert len({worker.slot for worker in cluster.workers.values()}) == number
        assert cluster.stats().restarts == 1


@pytest.mark.parametrize("graceful", [True, False])
async def test_a_stop_during_growth(graceful: bool) -> None:
    cluster = ranging()
    async with serving(cluster, 2) as address, cluster.events("fork") as heard:
        load = Load(address, target=BUSY)
        async with load:
            await anext(heard)
            await cluster.stop(graceful=graceful)
            assert not cluster.workers
            load.over()
    if graceful:
        assert all("ConnectionRefused" in error for error in load.errors)


@pytest.mark.parametrize("policy", ["shared", "reuse_port"])
async def test_busy_loops_get_help_where_the_primary_does_not_accept(policy: str) -> None:
    cluster = ranging(scheduling=policy, patience=60.0, settle=0.3)
    async with serving(cluster, 2) as address, grown(cluster, address, workers=3) as load:
        pass
    assert load.errors == []


async def test_busy_loops_get_help_where_connections_stay() -> None:
    """Kept connections keep two loops busy. New workers get none of them, but those that come next."""
    cluster = ranging(patience=60.0, settle=0.3)
    async with serving(cluster, 2) as address, cluster.events("listening") as heard:
        clients = [await Client.connect(address) for _ in range(16)]
        for client in clients:
            await client.ask("/0")
        over = asyncio.Event()

        async def work(client: Client) -> None:
            while not over.is_set():
                await client.ask("/0.01")

        working = [asyncio.create_task(work(client)) for client in clients]
        while (await anext(heard)).worker.slot != 2:
            pass
        over.set()
        await asyncio.gather(*working)
        for client in clients:
            await client.close()
