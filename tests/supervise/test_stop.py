"""stop() and what else ends early: nothing is left behind, and what is wanted stays wanted."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from pathlib import Path

import pytest

from aiocluster import Cluster, ClusterError
from tests.support.serving import ask, serving

from .inside_cluster import serve
from .inside_health import ignore_all_and_block_when_told


async def test_it_does_not_wait_for_a_fork_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server imports first, and that may take its time."""
    (tmp_path / "slow_of_test.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1):
        cluster.primary.setup(start_method="template", preload=("slow_of_test",))
        scaling = asyncio.ensure_future(cluster.scale(2))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        await cluster.stop()
        assert time.monotonic() - began < 30  # the import takes 60
        with pytest.raises(ClusterError, match="the scaling has been given up"):
            await scaling


async def test_workers_that_were_forked_by_hand_end_with_the_others() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1):
        mine = await cluster.primary.fork()
        await mine.wait_for("listening")
        await cluster.scale(2)
        assert mine in cluster.workers.values()
        await cluster.stop()
        assert not cluster.primary.workers
        assert mine.exited_after_disconnect


async def test_a_second_one_at_once_ends_those_that_are_leaving() -> None:
    cluster = Cluster(ignore_all_and_block_when_told, workers=1)
    async with serving(cluster, 1):
        (worker,) = cluster.workers.values()
        await worker.send("block")
        first = asyncio.ensure_future(cluster.stop())
        await asyncio.sleep(0.1)
        assert not first.done()
        await cluster.stop(graceful=False)
        await first
        assert worker.exit_signal == signal.SIGKILL


async def test_before_it_was_entered() -> None:
    await Cluster(serve, workers=1).stop()


async def test_a_caller_that_is_cancelled_cancels_no_scale() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1) as address, cluster.events("listening") as heard:
        scaling = asyncio.ensure_future(cluster.scale(2))
        await asyncio.sleep(0)
        scaling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scaling
        await anext(heard)
        assert {await ask(address) for _ in range(4)} == {worker.pid for worker in cluster.workers.values()}
        assert len(cluster.workers) == 2


async def test_a_caller_that_is_cancelled_cancels_no_stop() -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await cluster.stop()
        await cluster.serve_forever()
        assert not cluster.workers


async def test_a_changed_graceful_timeout_counts_for_the_next_leave(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    cluster = Cluster(ignore_all_and_block_when_told, workers=1, graceful_timeout=60)
    async with serving(cluster, 1):
        (worker,) = cluster.workers.values()
        await worker.send("block")
        cluster.primary.setup(graceful_timeout=0.2)
        began = time.monotonic()
        await cluster.stop()
        assert 3.0 < time.monotonic() - began < 30  # and not 60
        assert worker.exit_signal == signal.SIGKILL
    assert "has not left in time: SIGTERM" in caplog.text
    assert "has not left in time: SIGKILL" in caplog.text
