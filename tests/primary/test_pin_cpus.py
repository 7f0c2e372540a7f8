"""The setting ``pin_cpus``: each worker on one CPU, in turn by slots."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from aiocluster import Cluster, Primary, Settings
from aiocluster._primary import primary as primary_module
from aiocluster.settings import PrimarySettings, StartMethod

from .inside_slots import tell, tell_cpus_of_a_child
from .test_slots import both_ways, told_by


@pytest.fixture
def allowed() -> Iterator[list[int]]:
    """The CPUs that this process may use. Whatever the test makes of it, it may use them again afterwards."""
    cpus = sorted(os.sched_getaffinity(0))
    yield cpus
    os.sched_setaffinity(0, cpus)


@both_ways
async def test_slots_take_the_cpus_in_turn(start_method: StartMethod, allowed: list[int]) -> None:
    settings: PrimarySettings = {"start_method": start_method, "pin_cpus": True}
    async with Primary(tell, **settings) as primary, primary.events("message") as heard:
        workers = [await primary.fork() for _ in range(len(allowed) + 1)]
        told = await told_by(heard, *workers)
        for slot, facts in enumerate(told):
            assert facts["cpus"], "of each of its threads"
            assert all(cpus == [allowed[slot % len(allowed)]] for cpus in facts["cpus"])
            assert facts["cpus of the parent"] == allowed, "neither the primary nor the fork server is pinned"
        primary.setup(pin_cpus=False)
        (facts,) = await told_by(heard, await primary.fork())
        assert all(cpus == allowed for cpus in facts["cpus"])


@both_ways
async def test_what_this_process_may_use_is_asked_for_at_each_fork(
    start_method: StartMethod, allowed: list[int]
) -> None:
    settings: PrimarySettings = {"start_method": start_method, "pin_cpus": True}
    async with Primary(tell, **settings) as primary, primary.events("message") as heard:
        for cpus in ([allowed[-1]], allowed):  # first less, and then more than when a fork server was started
            os.sched_setaffinity(0, cpus)
            (facts,) = await told_by(heard, worker := await primary.fork())
            assert worker.slot is not None
            assert all(found == [cpus[worker.slot % len(cpus)]] for found in facts["cpus"])


@both_ways
async def test_agents_are_not_pinned(start_method: StartMethod, allowed: list[int]) -> None:
    cluster = Cluster(tell, workers=1, agents={"agent": tell}, start_method=start_method, pin_cpus=True)
    async with cluster.events("message") as heard, cluster:
        told = {facts["slot"]: facts["cpus"] for facts in [(await anext(heard)).message for _ in range(2)]}
        assert all(cpus == allowed for cpus in told[None])
        assert all(cpus == allowed[:1] for cpus in told[0])


async def test_what_a_worker_starts_runs_there_too(allowed: list[int]) -> None:
    async with Primary(tell_cpus_of_a_child, pin_cpus=True) as primary, primary.events("message") as heard:
        await primary.fork()
        assert (await anext(heard)).message == str(allowed[0])


@both_ways
async def test_a_cpu_that_is_lost_meanwhile_is_a_failed_start(
    start_method: StartMethod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As if somebody had changed the cpuset after the primary had looked."""
    monkeypatch.setattr(primary_module, "cpu_for", lambda slot: 4095)
    async with Primary(tell, start_method=start_method, pin_cpus=True) as primary:
        worker = await primary.fork()
        assert (await worker.wait()).code == 1
        await worker.wait_gone()
    assert "pin_cpus: this worker may not run on CPU 4095, which the primary may use: Invalid argument" in caplog.text


async def test_where_the_kernel_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    text = r"^pin_cpus needs sched_setaffinity\(2\), which this system does not have: leave it out$"
    with pytest.raises(ValueError, match=text):
        Cluster(tell, pin_cpus=True)
    with pytest.raises(ValueError, match=text):
        Primary(tell).setup(pin_cpus=True)
    assert not Settings(pin_cpus=False).pin_cpus
