"""The setting ``slow_loop``: a blocked event loop is told of while it is blocked."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from typing import Any

import psutil
import pytest

from aiocluster import Cluster
from tests.support.events import several

from .inside_insight import block_when_told


async def test_a_blocked_loop_is_told_of_while_it_is(worker_loop: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiocluster")
    cluster = Cluster(block_when_told, workers=1, loop=worker_loop, slow_loop=0.2)
    async with cluster, several(cluster, "slow") as heard:
        (worker,) = cluster.workers.values()
        for number, name in enumerate(("wait", "compute", "wait_for_event"), 1):
            began = time.monotonic()
            await worker.send([name, 0.7])
            event = await anext(heard)
            assert event.worker is worker
            assert 0.2 <= event.seconds <= time.monotonic() - began
            assert event.where.startswith("tests/insight/inside_insight.py:")
            assert event.where.endswith(f" in {name}")
            assert f"its event loop has been blocked for {event.seconds:.2f} s, at {event.where}" in caplog.text
            stats = cluster.stats().workers[0]
            assert stats.slow == number
            assert stats.last_slow is not None
            assert stats.last_slow.where == event.where
            assert await worker.request("runs again") == "runs again"
            while caplog.text.count("its event loop runs again, after ") < number:  # told by another channel
                await asyncio.sleep(0.005)
            assert caplog.text.splitlines()[-1].endswith(f" s, at {event.where}")
            stats = cluster.stats().workers[0]
            assert stats.last_slow is not None
            assert stats.last_slow.seconds > event.seconds


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how often a thread has waited")
async def test_code_in_c_that_holds_the_interpreter_is_told_of(worker_loop: Any) -> None:
    cluster = Cluster(block_when_told, workers=1, loop=worker_loop, slow_loop=0.2)
    async with cluster, several(cluster, "slow") as heard:
        (worker,) = cluster.workers.values()
        for _ in range(3):  # on a busy machine, one may look like a want of processors
            await worker.send(["hold", 1.0])
        event = await anext(heard)
        assert event.where.startswith("tests/insight/inside_insight.py:")
        assert event.where.endswith(" in hold")
        assert event.seconds > 0.5
        await worker.send(["hold_in_a_thread", 0.5])
        while "held the interpreter" not in (await anext(heard)).where:
            pass  # the loop had something to do, but could not
        worker.kill(signal.SIGKILL)


async def test_a_breakpoint_is_not_slow() -> None:
    cluster = Cluster(block_when_told, workers=1, slow_loop=0.1)
    async with cluster, several(cluster, "slow") as heard:
        (worker,) = cluster.workers.values()
        await worker.send(["stop_at_a_breakpoint", 0.6])
        assert await worker.request("runs again") == "runs again"
        await worker.send(["wait", 0.6])
        event = await anext(heard)
        assert event.where.endswith(" in wait")
        assert cluster.stats().workers[0].slow == 1


async def test_a_process_that_was_stopped_had_no_slow_loop() -> None:
    async with Cluster(block_when_told, workers=1, slow_loop=0.05) as cluster:
        async with several(cluster, "slow") as heard:
            (worker,) = cluster.workers.values()
            for _ in range(3):
                os.kill(worker.pid, signal.SIGSTOP)
                while psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED:
                    await asyncio.sleep(0.005)
                await asyncio.sleep(0.3)
                os.kill(worker.pid, signal.SIGCONT)
                assert await worker.request("runs again") == "runs again"
            await worker.send(["wait", 60.0])
            event = await anext(heard)
            assert event.where.endswith(" in wait")
            worker.kill(signal.SIGKILL)


async def test_what_is_not_watched_costs_nothing() -> None:
    async with Cluster(block_when_told, workers=1) as cluster:
        (worker,) = cluster.workers.values()
        assert await worker.request("its loop runs") == "its loop runs"
        assert psutil.Process(worker.pid).num_threads() == 2  # the main one, and that which waits for our end
