"""The setting ``slow_loop``: a blocked event loop is told of while it is blocked."""

from __future__ import annotations

import logging

import pytest

from aiocluster import Cluster
from tests.support.events import several

from .inside_insight import block_when_told


async def test_it_tells_where_a_loop_is_blocked_while_it_is(worker_loop: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiocluster")
    cluster = Cluster(block_when_told, workers=1, loop=worker_loop, slow_loop=0.2)  # type: ignore[arg-type]
    async with cluster, several(cluster, "slow", "exit") as heard:
        (worker,) = cluster.workers.values()
        for name in ("wait", "compute"):
            await worker.send([name, 60.0])
            event = await anext(heard)
            assert (event.name, event.worker) == ("slow", worker)
            assert 0.2 <= event.seconds < 30.0
            assert event.where.startswith("tests/insight/inside_insight.py:")
            assert event.where.endswith(f" in {name}")
            assert f"blocked for {event.seconds:.1f} s, at {event.where}" in caplog.text
            break
        worker.kill()
