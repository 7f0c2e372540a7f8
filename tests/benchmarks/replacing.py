"""What keeping a cluster alive costs: a respawn, a reload, and the primary's memory for each worker it has ever had.

No goals stand against these: they are shown beside a start (P5), which is what they consist of.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import psutil

from aiocluster import Cluster, Primary, RestartPolicy
from aiocluster.settings import StartMethod

from . import idle_worker
from .measurement import Comparison, Contender, Measurement, Sample
from .own_process import python, target
from .programs import answer

KILLS = 10
RELOADED = 8
FORKS = 1_000
WARM_UP = 1_000

START_METHODS: tuple[StartMethod, ...] = ("spawn", "template")


async def respawn(start_method: StartMethod) -> float:
    """In the primary: seconds from a worker's SIGKILL until its replacement listens."""
    policy = RestartPolicy(limit=1_000, backoff=(0.0, 0.0))
    cluster = Cluster(target(idle_worker.listen), workers=2, start_method=start_method, restart=policy)
    seconds = []
    async with cluster.events("listening") as heard, cluster:
        for _ in range(2):
            await anext(heard)
        for _ in range(KILLS):
            worker, *_ = cluster.workers.values()
            began = perf_counter()
            worker.kill(signal.SIGKILL)
            await anext(heard)
            seconds.append(perf_counter() - began)
    return median(seconds)


async def reload(start_method: StartMethod) -> float:
    """In the primary: seconds for a reload of eight workers, one after the other."""
    cluster = Cluster(target(idle_worker.listen), workers=RELOADED, start_method=start_method)
    async with cluster.events("listening") as heard, cluster:
        for _ in range(RELOADED):
            await anext(heard)
        began = perf_counter()
        await cluster.reload()
        return perf_counter() - began


async def memory_of_forks() -> float:
    """In the primary: bytes of its resident memory that one fork more has cost, over a thousand."""
    async with Primary(target(idle_worker.wait), start_method="template") as primary:
        await _fork_and_end(primary, WARM_UP)
        before = psutil.Process().memory_info().rss
        await _fork_and_end(primary, FORKS)
        return max(0.0, (psutil.Process().memory_info().rss - before) / FORKS)


async def _fork_and_end(primary: Primary, times: int) -> None:
    for _ in range(times // 10):
        workers = [await primary.fork() for _ in range(10)]
        for worker in workers:
            worker.kill(signal.SIGKILL)
        await asyncio.gather(*(worker.wait_gone() for worker in workers))
    gc.collect()


def _sample(function: Callable[[StartMethod], object], start_method: StartMethod) -> Sample:
    return Sample(answer(python(function, start_method)))


RESPAWN = Measurement(
    "RESPAWN",
    "from a worker's SIGKILL until its replacement listens",
    "s",
    contenders=tuple(Contender(f"aiocluster, {method}", partial(_sample, respawn, method)) for method in START_METHODS),
    comparisons=(Comparison("aiocluster, template", "aiocluster, spawn"),),
)

RELOAD = Measurement(
    "RELOAD",
    f"a reload of {RELOADED} workers",
    "s",
    contenders=tuple(Contender(f"aiocluster, {method}", partial(_sample, reload, method)) for method in START_METHODS),
    comparisons=(Comparison("aiocluster, template", "aiocluster, spawn"),),
)

FORKED = Measurement(
    "FORKS",
    f"the primary's memory for each of {FORKS} workers that have come and gone",
    "B",
    contenders=(Contender("aiocluster, template", lambda: Sample(answer(python(memory_of_forks)))),),
    comparisons=(),
)
