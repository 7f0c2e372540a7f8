"""hang_timeout, max_memory, max_lifetime, max_connections: workers that are replaced before they do harm."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from aiocluster import Cluster, WorkerProcess
from aiocluster._wire.frames import REST
from aiocluster.events import Exit
from tests.support.events import several
from tests.support.serving import Client, ask, serving

from .inside_cluster import serve
from .inside_health import (
    block_when_told,
    grow_when_told,
    ignore_all_and_block_when_told,
    no_loop_between_two,
    no_loop_for_a_while,
    serve_and_block_at_times,
    serve_with_a_task,
)
from .load import Load


@pytest.mark.parametrize("hang_timeout", [0.5, 2.5])
async def test_a_worker_that_blocks_is_replaced_in_time(hang_timeout: float) -> None:
    cluster = Cluster(block_when_told, workers=2, hang_timeout=hang_timeout, silent=True)
    async with serving(cluster, 2) as address, several(cluster, "exit", "fork") as heard:
        blocked, other = cluster.workers.values()
        began = time.monotonic()
        await blocked.send("block")
        events = [await anext(heard), await anext(heard)]  # its channel may be seen to close before its process ends
        assert hang_timeout * 0.7 < time.monotonic() - began < hang_timeout + 3
        exit: Exit = next(event for event in events if event.name == "exit")
        assert (exit.worker, exit.signal) == (blocked, signal.SIGABRT)
        replaced = next(event for event in events if event.name == "fork")
        assert blocked.stderr is not None
        stacks = b"".join([chunk async for chunk in blocked.stderr]).decode()
        assert "Fatal Python error: Aborted" in stacks
        assert "in block_for_ever\n" in stacks
        await replaced.worker.wait_for("listening")
        assert {await ask(address) for _ in range(4)} == {other.pid, replaced.worker.pid}


async def test_what_a_blocked_worker_had_not_taken_goes_elsewhere() -> None:
    cluster = Cluster(block_when_told, workers=2, hang_timeout=1.0, silent=True)
    async with serving(cluster, 2) as address:
        blocked, _ = cluster.workers.values()
        await blocked.send("block")
        pids = await asyncio.gather(*(ask(address) for _ in range(50)))
        assert blocked.pid not in pids


async def test_one_that_ignores_sigabrt_is_killed() -> None:
    cluster = Cluster(ignore_all_and_block_when_told, workers=1, hang_timeout=0.5)
    async with serving(cluster, 1), several(cluster, "exit", "listening") as heard:
        (blocked,) = cluster.workers.values()
        await blocked.send("block")
        assert {event.worker.id for event in [await anext(heard), await anext(heard)]} == {1, 2}
        assert blocked.exit_signal == signal.SIGKILL


async def test_a_primary_that_was_blocked_itself_blames_no_worker() -> None:
    cluster = Cluster(serve, workers=2, hang_timeout=0.3)
    async with serving(cluster, 2) as address:
        workers = set(cluster.workers.values())
        for _ in range(3):
            time.sleep(0.7)  # noqa: ASYNC251
            await asyncio.sleep(0.2)
        assert {await ask(address) for _ in range(4)} == {worker.pid for worker in workers}
        assert set(cluster.workers.values()) == workers


@pytest.mark.parametrize("target", [no_loop_for_a_while, no_loop_between_two])
async def test_a_worker_that_runs_no_loop_is_not_blocked(target: Callable[[], None]) -> None:
    cluster = Cluster(target, workers=1, hang_timeout=0.2)
    async with serving(cluster, 1):
        assert list(cluster.workers) == [1]


# ---- gracefully


def fewest_at_work(cluster: Cluster) -> list[int]:
    """Notes how many workers listen, whenever one leaves."""
    seen: list[int] = []

    def note(event: Any) -> None:
        seen.append(sum(w.state == "listening" and not w._session.life.is_leaving for w in cluster.workers.values()))

    cluster.on("disconnect", note)
    cluster.on("exit", note)
    return seen


async def replaced(cluster: Cluster, workers: list[WorkerProcess]) -> None:
    """Returns when all of them are gone."""
    for worker in workers:
        exit = await worker.wait()
        assert (exit.code, exit.signal, exit.reason, worker.exited_after_disconnect) == (0, None, "limit", True)


@pytest.mark.asyncio(loop_factories=["uvloop"])
@pytest.mark.parametrize("limits", [{"max_connections": 30}, {"max_lifetime": 1.5}])
async def test_each_has_its_turn_and_no_client_notices(limits: dict[str, Any]) -> None:
    cluster = Cluster(serve, workers=3, **limits)
    async with serving(cluster, 3) as address, Load(address, clients=4) as load:
        seen = fewest_at_work(cluster)
        await replaced(cluster, list(cluster.workers.values()))
        await load.goes_on()
        assert min(seen) >= 3  # the new one listens before the old one leaves
        assert cluster.stats().restarts == 0
    assert load.errors == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the most a process has had is all there is")
async def test_one_that_has_grown_too_large_is_replaced() -> None:
    most = 200_000_000
    cluster = Cluster(grow_when_told, workers=2, max_memory=most, heartbeat=0.1)
    async with serving(cluster, 2) as address:
        large, other = cluster.workers.values()
        while not large._session.memory:
            await asyncio.sleep(0.01)
        assert 5_000_000 < large._session.memory < most
        seen = fewest_at_work(cluster)
        await large.send(most)
        await replaced(cluster, [large])
        assert min(seen) >= 2
        assert other in cluster.workers.values()
        assert large.pid not in {await ask(address) for _ in range(4)}


async def test_what_a_worker_reports() -> None:
    cluster = Cluster(serve_with_a_task, workers=1, heartbeat=0.05)
    async with serving(cluster, 1):
        while not (stats := cluster.stats().workers[0]).memory:
            await asyncio.sleep(0.01)
        assert stats.memory > 5_000_000
        assert stats.tasks >= 2
        assert 0 <= stats.loop_delay < 5
        assert stats.age > 0


async def test_how_busy_workers_are(worker_loop: Any) -> None:
    cluster = Cluster(serve_and_block_at_times, workers=2, heartbeat=0.05, loop=worker_loop)
    async with serving(cluster, 2):
        idle, busy = cluster.workers.values()
        await busy.send(0.2)
        while (share(busy) or 0.0) < 0.5:
            await asyncio.sleep(0.01)
        assert (share(idle) or 0.0) < 0.4


async def test_an_idle_worker_reports_seldom_until_a_connection_comes(worker_loop: Any) -> None:
    cluster = Cluster(serve, workers=1, heartbeat=0.2, loop=worker_loop)
    async with serving(cluster, 1) as address:
        (worker,) = cluster.workers.values()
        session = worker._session
        for _ in range(2):
            while session.heartbeat == 0.2:
                await asyncio.sleep(0.01)
            assert session.heartbeat == REST * 0.2
            rests_since = session._reported_at
            client = await Client.connect(address)
            await client.ask()
            while session.heartbeat > 0.2:
                await asyncio.sleep(0.001)
            assert time.monotonic() - rests_since < REST * 0.2 / 2  # at once, and not with the next report
            await client.close()


async def test_a_worker_whose_loop_is_watched_does_not_rest() -> None:
    cluster = Cluster(serve, workers=1, hang_timeout=0.4)
    async with serving(cluster, 1):
        (worker,) = cluster.workers.values()
        session = worker._session
        times: set[float] = set()
        while len(times) < 15:
            times.add(session._reported_at)
            assert session.heartbeat == 0.1
            await asyncio.sleep(0.01)


async def test_a_worker_that_does_not_report_is_busy() -> None:
    cluster = Cluster(serve_and_block_at_times, workers=2, heartbeat=0.05)
    async with serving(cluster, 2):
        _, blocked = cluster.workers.values()
        while share(blocked) is None:
            await asyncio.sleep(0.01)
        os.kill(blocked.pid, signal.SIGSTOP)
        try:
            while (share(blocked) or 0.0) < 0.5:
                await asyncio.sleep(0.01)
        finally:
            os.kill(blocked.pid, signal.SIGCONT)
        while (share(blocked) or 0.0) > 0.4:
            await asyncio.sleep(0.01)


def share(worker: WorkerProcess) -> float | None:
    """How busy its event loop is."""
    return worker._session.stats().busy
