"""The histogram of how long connections waited until a worker took them, against what their clients have seen."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from aiocluster import Cluster
from aiocluster._primary.ports.waits import BOUNDS
from aiocluster._wire.queue_time import TICK
from tests.support.http import fetch
from tests.support.serving import serving

from .inside_waits import BLOCKS, serve_slowly
from .pages import scrape

CLIENTS = 8
COUNT = 6  # requests of each client, one after the other


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not tell how long its queue was")
async def test_what_clients_waited(worker_loop: str) -> None:
    cluster = Cluster(serve_slowly, workers=1, metrics="127.0.0.1:0", loop=worker_loop)  # type: ignore[arg-type]
    async with serving(cluster, 1) as address:
        before = await scrape(cluster.metrics_address)

        waited: list[float] = []

        async def client() -> None:
            for _ in range(COUNT):
                began = time.monotonic()
                assert (await fetch(address, "/"))[0] == 200
                waited.append(time.monotonic() - began - BLOCKS)

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        after = await scrape(cluster.metrics_address)

    name = "aiocluster_connection_wait_seconds"
    counted = {series: after[series] - before[series] for series in after if series[0].startswith(name)}
    assert counted[f"{name}_count", ()] == len(waited)
    for bound in BOUNDS:
        above = len(waited) - counted[f"{name}_bucket", (("le", str(bound)),)]
        assert above <= sum(seconds > bound - 2 * TICK for seconds in waited)
    # The first few are taken at once, before it is known how slow the worker is, and wait for its loop.
    assert sum(waited) / 2 <= counted[f"{name}_sum", ()] <= sum(waited) + len(waited) * TICK
