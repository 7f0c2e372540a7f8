"""The time that a worker has to leave: it counts whoever told the worker, and whatever becomes of the caller."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from aiocluster import Cluster, Primary
from aiocluster.events import Exit

from .inside_deadline import does_not_leave

SECONDS = 0.3  # what a worker is given here


async def cancelled(leaving: Awaitable[None]) -> None:
    """Begins this, and does not wait for it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await leaving


async def told(primary: Primary, pid: int) -> None:
    await primary.worker(pid).disconnect()


async def told_by_one_that_is_cancelled(primary: Primary, pid: int) -> None:
    await cancelled(primary.worker(pid).disconnect())


async def all_told(primary: Primary, pid: int) -> None:
    await primary.disconnect()


async def all_told_by_one_that_is_cancelled(primary: Primary, pid: int) -> None:
    await cancelled(primary.disconnect())


async def told_with_too_much_time_and_again(primary: Primary, pid: int) -> None:
    await cancelled(primary.worker(pid).disconnect(timeout=3600))
    await primary.disconnect()


async def told_again_with_too_much_time(primary: Primary, pid: int) -> None:
    await cancelled(primary.disconnect())
    await primary.worker(pid).disconnect(timeout=3600)


async def by_itself(primary: Primary, pid: int) -> None:
    await primary.send(pid, None)


async def by_itself_with_a_time_of_its_own(primary: Primary, pid: int) -> None:
    primary.setup(graceful_timeout=3600)
    await primary.send(pid, SECONDS)


async def by_itself_with_too_much_time_and_told(primary: Primary, pid: int) -> None:
    await primary.send(pid, 3600)
    await primary.worker(pid).disconnect()


async def ends_late(primary: Primary, pid: int, told: Callable[[Primary, int], Awaitable[None]]) -> None:
    worker = primary.worker(pid)
    began = time.monotonic()
    await told(primary, pid)
    exit = await worker.wait()
    assert exit == Exit(worker, None, signal.SIGTERM, "late")
    assert worker.exit_reason == "late"
    assert SECONDS <= time.monotonic() - began < 20


TELLING = [
    told,
    told_by_one_that_is_cancelled,
    all_told,
    all_told_by_one_that_is_cancelled,
    told_with_too_much_time_and_again,
    told_again_with_too_much_time,
    by_itself,
    by_itself_with_a_time_of_its_own,
    by_itself_with_too_much_time_and_told,
]


@pytest.mark.parametrize("told", TELLING)
async def test_of_a_primary(told: Callable[[Primary, int], Awaitable[None]]) -> None:
    async with Primary(does_not_leave) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        assert (await anext(heard)).message == "running"
        primary.setup(graceful_timeout=SECONDS)
        await ends_late(primary, worker.pid, told)


@pytest.mark.parametrize("told", TELLING)
async def test_of_a_cluster(told: Callable[[Primary, int], Awaitable[None]]) -> None:
    cluster = Cluster(does_not_leave, workers=1, graceful_timeout=SECONDS)
    async with cluster.events("message") as heard, cluster:
        assert (await anext(heard)).message == "running"
        (worker,) = cluster.workers.values()
        await ends_late(cluster.primary, worker.pid, told)
        cluster.primary.setup(graceful_timeout=SECONDS)


async def test_of_a_scale_that_is_cancelled() -> None:
    cluster = Cluster(does_not_leave, workers=2, graceful_timeout=SECONDS)
    async with cluster.events("message") as heard, cluster:
        for _ in range(2):
            await anext(heard)
        async with cluster.events("exit") as ends:
            await cancelled(cluster.scale(1))
            assert (await anext(ends)).reason == "late"
