"""``python -m tests.benchmarks.even [--rounds N] [--only PART ...]``: how connections that stay spread over workers.

Not a matter of speed, so no ratio: each round opens all connections at once, sends a request over each, and counts who
answers how many. Forty over four workers are even when each has ten. For aiocluster also what makes that hard: four
hundred, forty right after uneven work (P9), and forty while every core computes something else.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass

from . import p9_tail, peers
from .answering import await_all_workers
from .programs import READY_WITHIN, ProgramFailed, serving, started
from .uneven_contenders import NEEDS, OURS, PEERS, WORKERS, Server

CONNECTIONS = 40
MANY = 400
LOAD_SECONDS = 3.0
"""Of uneven work before connections are opened."""

SPREADING: dict[str, Server] = {
    **OURS,
    **{name: server for name, server in PEERS.items() if not name.startswith("nginx")},
    "Node cluster, shared": lambda: serving(peers.node("uneven.js", str(WORKERS), "shared")),
}
"""Nginx spreads requests, and its connections are its own."""


@contextmanager
def _every_core_busy() -> Iterator[None]:
    with ExitStack() as running:
        for _ in range(os.cpu_count() or 1):
            running.enter_context(started([sys.executable, "-c", "while True: pass"]))
        yield


@dataclass(frozen=True)
class Situation:
    """In which connections are opened."""

    title: str
    connections: int
    before: Callable[[int], object] = lambda port: None
    """Done to the port before each round."""
    meanwhile: Callable[[], AbstractContextManager[None]] = nullcontext


PLAIN = Situation(f"{CONNECTIONS} connections", CONNECTIONS)
HARD = (
    Situation(f"{MANY} connections", MANY),
    Situation(
        f"{CONNECTIONS} right after uneven work",
        CONNECTIONS,
        before=lambda port: p9_tail.put_on(port, seed=1, seconds=LOAD_SECONDS),
    ),
    Situation(f"{CONNECTIONS} while every core is busy", CONNECTIONS, meanwhile=_every_core_busy),
)


def spread(port: int, number: int) -> list[int]:
    """How many of so many connections, opened at once, each worker has, most first."""
    with ExitStack() as open_ones:
        sockets = [open_ones.enter_context(closing(socket.socket())) for _ in range(number)]
        for opened in sockets:
            opened.setblocking(False)
            opened.connect_ex(("127.0.0.1", port))
        shares = Counter(map(_answering, sockets))
    return sorted([*shares.values(), *[0] * (WORKERS - len(shares))], reverse=True)


def _answering(opened: socket.socket) -> bytes:
    opened.settimeout(READY_WITHIN)  # from here on it waits, for the connection too
    connection = http.client.HTTPConnection("127.0.0.1")
    connection.sock = opened
    connection.request("GET", "/0")
    return connection.getresponse().read()


def rounds_of(situation: Situation, port: int, rounds: int) -> list[str]:
    """Each round's shares."""
    with situation.meanwhile():
        shares = []
        for _ in range(rounds):
            situation.before(port)
            shares.append("/".join(map(str, spread(port, situation.connections))))
    return shares


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a contender broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.even", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how many of each (3)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="PART", help="whose names contain one of these")
    options = parser.parse_args(arguments)
    chosen = {name: server for name, server in SPREADING.items() if any(part in name for part in options.only)}
    width = max(map(len, chosen), default=0) + 4 + max(len(situation.title) for situation in (PLAIN, *HARD))
    print(f"over {WORKERS} workers; one column a round")
    failed = False
    for name, server in chosen.items():
        needs = NEEDS.get(name, ("node",) if name.startswith("Node") else ())
        if reasons := [reason for need in needs if (reason := peers.missing(need))]:
            print(f"  {name:<{width}}  skipped: {'; '.join(reasons)}")
            continue
        for situation in (PLAIN, *(HARD if name in OURS else ())):
            label = f"{name}: {situation.title}"
            try:
                with server() as port:
                    await_all_workers(port, WORKERS, path="/4000")
                    shares = rounds_of(situation, port, options.rounds)
            except (ProgramFailed, OSError, http.client.HTTPException) as error:
                failed = True
                print(f"  {label:<{width}}  FAILED: {error}", flush=True)
            else:
                print(f"  {label:<{width}}  {'   '.join(f'{share:<12}' for share in shares)}".rstrip(), flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
