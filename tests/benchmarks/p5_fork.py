"""P5: how long it takes from ``fork()`` until the worker is online.

A worker imports what a worker needs and no application. Node's figure is the same: ``cluster.fork()`` to the event
``online``. The fresh Python imports asyncio, uvloop and msgpack, and ends: less could no worker do.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

from aiocluster import Primary
from aiocluster.settings import StartMethod

from . import idle_worker
from .measurement import Comparison, Contender, Measurement, OwnContender, Sample, at_most
from .own_process import python, target
from .peers import node
from .programs import answer

FORKS = 15
"""One after the other; the median counts, the first one does not."""


async def fork_to_online(start_method: StartMethod) -> float:
    """In the primary: seconds."""
    seconds = []
    async with Primary(target(idle_worker.wait), start_method=start_method) as primary:
        for _ in range(1 + FORKS):
            began = perf_counter()
            process = await primary.fork()
            await process.wait_for("online")
            seconds.append(perf_counter() - began)
            await process.disconnect()
    return median(seconds[1:])


def fresh_python() -> float:
    """Seconds that an interpreter takes which imports what every worker imports."""
    seconds = []
    for _ in range(1 + FORKS):
        began = perf_counter()
        subprocess.run([sys.executable, "-c", "import asyncio, uvloop, msgpack"], check=True)
        seconds.append(perf_counter() - began)
    return median(seconds[1:])


MEASUREMENT = Measurement(
    "P5",
    "fork() to online",
    "s",
    contenders=(
        OwnContender("aiocluster, spawn", lambda checkout: Sample(answer(checkout.python(fork_to_online, "spawn")))),
        Contender("a fresh python", lambda: Sample(answer(python(fresh_python)))),
        OwnContender(
            "aiocluster, template", lambda checkout: Sample(answer(checkout.python(fork_to_online, "template")))
        ),
        Contender("Node cluster", lambda: Sample(answer(node("fork.js", str(FORKS)))), needs=("node",)),
    ),
    comparisons=(
        Comparison("aiocluster, spawn", "a fresh python", at_most(1.2)),
        Comparison("aiocluster, template", "Node cluster", at_most(0.25)),
        Comparison("aiocluster, spawn", "Node cluster"),
    ),
)
