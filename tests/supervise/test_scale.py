"""scale(): more workers and fewer, by call and by signal, and no client notices."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiocluster import Cluster, ClusterError, StartupError
from tests.support.events import several
from tests.support.serving import EXAMPLES, ask, serving

from .inside_cluster import serve
from .load import Load
from .test_reload import POLICIES


@asynccontextmanager
async def serving_until_sigterm(cluster: Cluster) -> AsyncIterator[asyncio.Task[None]]:
    """Lets it serve for ever in this process, until SIGTERM."""
    forever = asyncio.create_task(cluster.serve_forever())
    await asyncio.sleep(0)  # it handles signals from its first step on
    try:
        yield forever
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await forever


async def count(cluster: Cluster, workers: int) -> None:
    """Returns when there are so many, and all of them listen."""
    async with several(cluster, "listening", "exit", "disconnect") as heard:
        while [worker.state for worker in cluster.workers.values()] != ["listening"] * workers:
            await anext(heard)


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_no_client_notices(policy: str) -> None:
    cluster = Cluster(EXAMPLES / "asyncio_app.py", workers=1, scheduling=policy, env={"PORT": "0"})
    async with serving(cluster, 1) as address, Load(address) as load:
        for workers in (3, 1, 2):
            await load.goes_on()
            await cluster.scale(workers)
            await count(cluster, workers)
            await load.goes_on()
    assert load.errors == []
    assert len(load.answers) >= 3


@pytest.mark.parametrize("policy", POLICIES)
async def test_signals_scale_too(policy: str) -> None:
    cluster = Cluster(serve, workers=1, scheduling=policy)
    async with serving(cluster, 1) as address, serving_until_sigterm(cluster), Load(address, clients=4) as load:
        for number, workers in [(signal.SIGTTIN, 2), (signal.SIGTTOU, 1), (signal.SIGTTOU, 1), (signal.SIGTTIN, 2)]:
            os.kill(os.getpid(), number)
            await load.goes_on(50)
            await count(cluster, workers)
            await load.goes_on(50)
    assert load.errors == []


async def test_it_returns_when_it_is_done() -> None:
    cluster = Cluster(serve, workers=3)
    async with serving(cluster, 3) as address:
        first, *others = cluster.workers.values()
        await cluster.scale(1)
        assert list(cluster.workers.values()) == [first]
        assert all(worker.exited_after_disconnect for worker in others)
        await cluster.scale(3)
        assert sorted(cluster.workers) == [1, 4, 5]
        await count(cluster, 3)
        assert sorted([await ask(address) for _ in range(3)]) == sorted(w.pid for w in cluster.workers.values())
        await cluster.scale(3)
        assert sorted(cluster.workers) == [1, 4, 5]


async def test_calls_at_once_take_turns() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1):
        await asyncio.gather(cluster.scale(3), cluster.reload(), cluster.scale(2))
        assert len(cluster.workers) == 2
        assert min(cluster.workers) > 1


async def test_new_ones_are_kept_alive_and_surplus_ones_are_not() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1), cluster.events("listening") as heard:
        await cluster.scale(2)
        new = (await anext(heard)).worker
        new.kill(signal.SIGKILL)
        assert (await anext(heard)).worker.id == 3
        await cluster.scale(1)
        await cluster.scale(2)
        assert (await anext(heard)).worker.id == 4


@pytest.mark.parametrize("number", [0, -1])
async def test_below_1(number: int) -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1):
        with pytest.raises(ValueError, match="from 1 on"):
            await cluster.scale(number)
        with pytest.raises(TypeError, match="workers must be a whole number"):
            await cluster.scale("2")  # type: ignore[arg-type]
        assert len(cluster.workers) == 1


async def test_new_ones_that_do_not_come_up() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1) as address:
        cluster.primary.setup(executable="/bin/false")
        with pytest.raises(StartupError, match="before it was online, by exit code 1"):
            await cluster.scale(3)
        (worker,) = cluster.workers.values()
        assert await ask(address) == worker.pid
        cluster.primary.setup(executable=None)
        await cluster.scale(3)
        assert len(cluster.workers) == 3


async def test_when_it_has_stopped() -> None:
    async with Cluster(serve, workers=1) as cluster:
        scaling = asyncio.ensure_future(cluster.scale(2))
        reloading = asyncio.ensure_future(cluster.reload())
        waiting = asyncio.ensure_future(cluster.scale(4))  # for its turn
        await asyncio.sleep(0)
        await cluster.stop()
        for change in (scaling, reloading, waiting):
            with pytest.raises(ClusterError):
                await change
        with pytest.raises(ClusterError, match="not running"):
            await cluster.scale(2)
        assert not cluster.workers
