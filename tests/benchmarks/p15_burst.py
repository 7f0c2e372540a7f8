"""P15: workers by load. What a burst costs where two workers become eight, beside eight that are always there.

A handler blocks its loop for 20 ms. At first ten requests a second arrive, which one worker does; then 320, which keep
6.4 of eight busy. What comes in the burst's first 100 ms doesn't count in the tail: then the workers are there, or are
not. Two more figures go with it: when the first worker more serves, and what memory the few take at rest.

``python -m tests.benchmarks.p15_burst --seeds 1 2 3`` is the quick way: one line for each run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from aiocluster import Cluster

from . import idle_worker, tail, uneven_client
from .answering import await_all_workers
from .measurement import Comparison, Contender, Measurement, Sample, SeededContender, at_most
from .own_process import python, target
from .p7_memory import proportional_share
from .programs import ProgramFailed, answer, serving
from .tail import Tail
from .uneven_client import Answer
from .uneven_contenders import IDEAL
from .uneven_servers import serve, workers_setting
from .uneven_work import Mix, ideal_open, stepped

FEW, MANY = 2, 8
MIX = Mix(short=0.020, long=0.020, long_share=0.0)
CALM = (2.5, 10.0)
"""Seconds, and requests a second."""
BURST = (4.0, 320.0)
GRACE = 0.100
"""Seconds of the burst whose requests don't count."""
COUNTED_FROM = CALM[0] + GRACE
SERVING_WITHIN = 0.050
"""Seconds of the burst after which a worker more is meant to serve."""
SETTLED = 1.0
"""Seconds after the start at which memory is measured: a fork server has its say too."""

GROWING = f"aiocluster, {FEW} to {MANY}, template"
GROWING_SPAWN = f"aiocluster, {FEW} to {MANY}, spawn"
FIXED = f"aiocluster, {MANY}, template"
FIXED_FEW = f"aiocluster, {FEW}, template"
BOUND = f"{1000 * SERVING_WITHIN:g} ms"


@dataclass(frozen=True)
class Burst:
    """One run of a cluster under the calm and the burst."""

    tail: Tail
    new: float | None
    """Seconds from the burst's beginning until a worker that was not there at first began to handle a request."""


def burst(workers: str, start_method: str, seed: int) -> Burst:
    """
    Raises:
        ProgramFailed: The cluster broke, or answered nothing.
    """
    with serving(python(serve, "uvicorn", workers, "", start_method)) as port:
        first = await_all_workers(port, int(workers.partition(":")[0]))
        steps, mix = json.dumps([CALM, BURST]), json.dumps(MIX)
        report = answer(python(uneven_client.open_loop, str(port), str(seed), steps, mix))
    return Burst(tail.of_requests(report, COUNTED_FROM, MANY), of_a_new_one(report, first))


def of_a_new_one(report: Mapping[str, Any], first: Set[int]) -> float | None:
    """Seconds of the burst until a worker that is none of the first began to handle a request; None if none did."""
    answers = [Answer(*fields) for fields in report["answers"]]
    new = [each.at + each.latency - MIX.short for each in answers if each.pid not in first]
    return min(new) - CALM[0] if new else None


RUNS = {
    GROWING: (f"{FEW}:{MANY}", "template"),
    GROWING_SPAWN: (f"{FEW}:{MANY}", "spawn"),
    FIXED: (f"{MANY}", "template"),
}
"""How many workers, and how they start."""


def _tail(workers: str, seed: int) -> Sample:
    return tail.punctual(lambda: burst(workers, "template", seed).tail.sample)


def _new(start_method: str, seed: int) -> Sample:
    def taken() -> Sample:
        run = burst(f"{FEW}:{MANY}", start_method, seed)
        if run.new is None:
            raise ProgramFailed(f"none but the first {FEW} workers ever answered")
        return Sample(run.new, run.tail.sample.errors)

    return tail.punctual(taken)


def ideal(seed: int) -> Tail:
    return tail.of_ideal(ideal_open(stepped(seed, [CALM, BURST], MIX), MANY), COUNTED_FROM)


async def memory_at_rest(workers: str) -> float:
    """In the primary: bytes of all processes of a cluster with nothing to do, itself and its fork server included."""
    cluster = Cluster(target(idle_worker.listen), start_method="template", **workers_setting(workers))
    async with cluster.events("listening") as heard, cluster:
        for _ in range(FEW):
            await anext(heard)
        await asyncio.sleep(SETTLED)
        here = psutil.Process()
        return sum(proportional_share(process.pid) for process in (here, *here.children(recursive=True)))


def _memory(workers: str) -> Sample:
    if sys.platform != "linux":
        raise ProgramFailed("there is no /proc/PID/smaps_rollup here")
    return Sample(answer(python(memory_at_rest, workers)))


MEASUREMENT = Measurement(
    "P15",
    f"99 % of a burst's requests, but for its first {1000 * GRACE:g} ms, are answered within",
    "s",
    contenders=(
        SeededContender(IDEAL, lambda seed: ideal(seed).sample),
        SeededContender(GROWING, partial(_tail, f"{FEW}:{MANY}"), needs=("uvicorn",)),
        SeededContender(FIXED, partial(_tail, f"{MANY}"), needs=("uvicorn",)),
    ),
    comparisons=(Comparison(GROWING, FIXED, at_most(1.0)),),
    figure=tail.FIGURE,
    further=tail.FURTHER,
    baseline=IDEAL,
)

NEW = Measurement(
    "P15NEW",
    "from the beginning of a burst until a worker more serves",
    "s",
    contenders=(
        SeededContender(GROWING, partial(_new, "template"), needs=("uvicorn",)),
        SeededContender(GROWING_SPAWN, partial(_new, "spawn"), needs=("uvicorn",)),
        Contender(BOUND, lambda: Sample(SERVING_WITHIN)),
    ),
    comparisons=(Comparison(GROWING, BOUND, at_most(1.0)), Comparison(GROWING_SPAWN, BOUND)),
)

REST = Measurement(
    "P15REST",
    "memory at rest, of all processes",
    "B",
    contenders=(
        Contender(GROWING, lambda: _memory(f"{FEW}:{MANY}")),
        Contender(FIXED_FEW, lambda: _memory(f"{FEW}")),
    ),
    comparisons=(Comparison(GROWING, FIXED_FEW, at_most(1.05)),),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each run as it ends; 1 if a contender broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.p15_burst", description="One line for each run.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="a run with each (1 2 3)")
    width = max(map(len, RUNS))
    failed = False
    for seed in parser.parse_args(arguments).seeds:
        print(f"seed {seed}  {IDEAL:<{width}}  {ideal(seed)}", flush=True)
        for name, (workers, start_method) in RUNS.items():
            try:
                run = burst(workers, start_method, seed)
            except ProgramFailed as error:
                failed = True
                print(f"seed {seed}  {name:<{width}}  FAILED: {error}", flush=True)
                continue
            new = "" if run.new is None else f"  a worker more after {1000 * run.new:.0f} ms"
            print(f"seed {seed}  {name:<{width}}  {run.tail}{new}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
