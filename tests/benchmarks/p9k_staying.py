"""P9k: the same over connections that stay, where it is decided once which worker has which.

Forty connections over four workers. On each, a request blocks the worker's loop for 2 ms, one in twenty for 20 ms;
after the answer the client thinks for 50 ms on average, and asks again. Beside all servers stands the *ideal*, one
queue before four servers, computed for clients that think and ask alike.

``python -m tests.benchmarks.p9k_staying --seeds 1 2 3 --only aiocluster`` is the quick way: one line for each run.
"""

from __future__ import annotations

import json
import sys

from . import tail, uneven_client
from .measurement import Comparison, at_most
from .own_process import python
from .programs import answer
from .tail import Tail
from .uneven_contenders import OURS, PEERS, POLICIES, WORKERS, Load, measurement, quick
from .uneven_work import Mix, ideal_closed, turns

CONNECTIONS = 40
THINK = 0.050
"""Seconds, on average."""
MIX = Mix(short=0.002, long=0.020, long_share=0.05)
WARM_UP = 1.5
"""Seconds whose requests don't count; the ideal's neither."""
SECONDS = 14.0
"""Seconds in all, with those."""


def ideal(seed: int, seconds: float) -> Tail:
    clients = [turns(seed, client, THINK, MIX) for client in range(CONNECTIONS)]
    return tail.of_ideal(ideal_closed(clients, seconds, WORKERS), WARM_UP)


def put_on(port: int, seed: int, seconds: float) -> Tail:
    plan = (str(CONNECTIONS), str(THINK), str(seconds), json.dumps(MIX))
    report = answer(python(uneven_client.closed_loop, str(port), str(seed), *plan))
    return tail.of_connections(report, WARM_UP, WORKERS)


LOAD = Load(SECONDS, ideal, put_on)
SERVERS = {**OURS, **PEERS}

MEASUREMENT = measurement(
    "P9K",
    "99 % of requests over forty connections that stay are answered within, four workers",
    LOAD,
    SERVERS,
    *(Comparison(name, peer, at_most(1.0)) for name in OURS for peer in PEERS),
    *(Comparison(name, peer, at_most(1.0), figure="p50") for name in OURS for peer in PEERS),
    *(Comparison(name, peer, figure="p90") for name in OURS for peer in PEERS),
)

OF_POLICIES = measurement(
    "P9KPOLICIES", "99 % of requests over forty connections that stay are answered within, by policy", LOAD, POLICIES
)


if __name__ == "__main__":
    sys.exit(quick("tests.benchmarks.p9k_staying", LOAD, SERVERS))
