"""Clusters of a process that can open no more descriptors. `test_starts` runs them in a process of their own.

A failure in the middle would leave pytest's process without descriptors.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Literal, cast

import pytest

from aiocluster import Cluster, RestartPolicy, StartupError
from aiocluster.events import Error
from tests.connections.descriptors import no_new_descriptor

from .inside_starts import stay


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)


async def all_online(cluster: Cluster, count: int) -> None:
    while sum(worker.state == "online" for worker in cluster.workers.values()) < count:
        await asyncio.sleep(0.01)


async def workers_end(method: Literal["spawn", "template"]) -> None:
    records = Records()
    logging.getLogger("aiocluster").addHandler(records)
    cluster = Cluster(stay, workers=4, start_method=method, restart=RestartPolicy(limit=4, backoff=(0.0, 0.0)))
    given_up: list[object] = []
    cluster.on("give_up", given_up.append)
    async with cluster, cluster.events("error") as heard:
        with no_new_descriptor():
            for worker in list(cluster.workers.values()):
                worker.kill(signal.SIGKILL)
            error: Error = await anext(heard)
            assert "Too many open files" in str(error.error), error
            assert error.worker is None
            await asyncio.sleep(1.0)
            assert not cluster.workers
        await all_online(cluster, 4)
        assert cluster.stats().restarts == 4
    assert not given_up
    told = [record for record in records.kept if "Too many open files" in record.getMessage()]
    assert len(told) == 4, "once for each slot"
    assert {record.levelno for record in told} == {logging.WARNING}


async def more_workers() -> None:
    async with Cluster(stay, workers=1) as cluster:
        with no_new_descriptor():
            scaling = asyncio.ensure_future(cluster.scale(3))
            await asyncio.sleep(0.5)
            assert not scaling.done()
        await scaling
        await all_online(cluster, 3)


async def more_workers_for_too_long() -> None:
    async with Cluster(stay, workers=1, start_timeout=5.0) as cluster:
        with (
            no_new_descriptor(),
            pytest.raises(StartupError, match=r"no worker can be started: .*Too many open files"),
        ):
            await cluster.scale(2)
        await all_online(cluster, 1)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["workers_end", method]:
            asyncio.run(workers_end(cast(Literal["spawn", "template"], method)))
        case ["more_workers"]:
            asyncio.run(more_workers())
        case ["more_workers_for_too_long"]:
            asyncio.run(more_workers_for_too_long())
        case unknown:
            sys.exit(f"there is no {unknown}")
