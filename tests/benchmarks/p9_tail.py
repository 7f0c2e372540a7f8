"""P9: how long the slowest wait, where handlers block their loop for unequal times.

Four workers; requests arrive at random (open loop, 270 a second, each over a connection of its own) and block their
worker's loop for 4 ms, one in twenty for 100 ms. Workers are busy for 59 % of the time, so there is nearly always one
that is free: who waits for a busy one beside it shows in the tail. Beside all servers stands the *ideal*: one queue
before four servers, computed from the same arrivals and service times; and what this machine makes of that, four
processes that block in `accept` and have one connection at a time.

``python -m tests.benchmarks.p9_tail --seeds 1 2 3 --only aiocluster blocking`` is the quick way: one line for each run.
"""

from __future__ import annotations

import json
import sys

from . import tail, uneven_client
from .measurement import Comparison, at_most
from .own_process import python
from .programs import answer
from .tail import Tail
from .uneven_contenders import BLOCKING, IDEAL, OURS, PEERS, POLICIES, WORKERS, Load, measurement, quick
from .uneven_work import Mix, ideal_open, poisson

RATE = 270.0
"""Requests a second."""
MIX = Mix(short=0.004, long=0.100, long_share=0.05)
WARM_UP = 1.5
"""Seconds whose requests don't count; the ideal's neither."""
SECONDS = 14.0
"""Seconds of arrivals, with those."""


def ideal(seed: int, seconds: float) -> Tail:
    return tail.of_ideal(ideal_open(poisson(seed, RATE, seconds, MIX), WORKERS), WARM_UP)


def put_on(port: int, seed: int, seconds: float) -> Tail:
    steps = json.dumps([(seconds, RATE)])
    report = answer(python(uneven_client.open_loop, str(port), str(seed), steps, json.dumps(MIX)))
    return tail.of_requests(report, WARM_UP, WORKERS)


LOAD = Load(SECONDS, ideal, put_on)
SERVERS = {**BLOCKING, **OURS, **PEERS}

MEASUREMENT = measurement(
    "P9",
    "p99 of uneven work, four workers",
    LOAD,
    SERVERS,
    *(Comparison(name, IDEAL, at_most(1.10)) for name in OURS),
    *(Comparison(name, IDEAL, at_most(1.25), figure="p90") for name in OURS),
    *(Comparison(name, peer, at_most(1.0)) for name in OURS for peer in PEERS),
    *(Comparison(name, peer, figure=figure) for name in OURS for peer in PEERS for figure in tail.FURTHER),
)

OF_POLICIES = measurement(
    "P9POLICIES", "99 % of requests of uneven work are answered within, by policy", LOAD, POLICIES
)


if __name__ == "__main__":
    sys.exit(quick("tests.benchmarks.p9_tail", LOAD, SERVERS))
