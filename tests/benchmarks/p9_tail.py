"""P9: how long the slowest wait, where handlers block their loop for unequal times.

Four workers; requests arrive at random (open loop, 270 a second, each over a connection of its own) and block their
worker's loop for 4 ms, one in twenty for 100 ms. Workers are busy for 59 % of the time, so there is nearly always one
that is free: who waits for a busy one beside it shows in the tail. Beside all servers stands the *ideal*: one queue
before four servers, computed from the same arrivals and service times.

``python -m tests.benchmarks.p9_tail --seeds 1 2 3 --only aiocluster`` is the quick way: one line a run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from statistics import median

from . import peers, tail, uneven_client
from .answering import await_all_workers
from .measurement import Comparison, Measurement, Sample, SeededContender, at_most
from .own_process import python
from .programs import ProgramFailed, answer, serving
from .tail import Tail
from .uneven_servers import APP, serve
from .uneven_work import Mix, ideal_open, poisson

WORKERS = 4
RATE = 270.0
"""Requests a second."""
MIX = Mix(short=0.004, long=0.100, long_share=0.05)
WARM_UP = 1.5
"""Seconds whose requests don't count; the ideal's neither."""
SECONDS = 14.0
"""Seconds of arrivals, with those."""

IDEAL = "ideal single queue"

Server = Callable[[], AbstractContextManager[int]]


def _ours(kind: str, *scheduling: str) -> Server:
    return lambda: serving(python(serve, kind, str(WORKERS), *scheduling))


def _asgi(server: str) -> Server:
    return lambda: peers.asgi_server(server, WORKERS, APP)


def _node(policy: str) -> Server:
    return lambda: serving(peers.node("uneven.js", str(WORKERS), policy))


OURS: dict[str, Server] = {
    "aiocluster, streams": _ours("streams"),
    "aiocluster, uvicorn": _ours("uvicorn"),
}
PEERS: dict[str, Server] = {
    "uvicorn --workers": _asgi("uvicorn"),
    "gunicorn, ASGI worker": _asgi("gunicorn"),
    "granian": _asgi("granian"),
    "Node cluster, round robin": _node("round_robin"),
}
POLICIES: dict[str, Server] = {
    f"aiocluster, {policy}": _ours("uvicorn", policy)
    for policy in ("round_robin", "least_connections", "fair", "random", "shared", "reuse_port")
}
NEEDS = {"Node cluster, round robin": ("node",)}


def ideal(seed: int, seconds: float = SECONDS) -> Tail:
    """What nobody can be better than."""
    return tail.of_ideal(ideal_open(poisson(seed, RATE, seconds, MIX), WORKERS), WARM_UP)


def measured(server: Server, seed: int, seconds: float = SECONDS) -> Tail:
    """One run: start the server, let the client have its requests, end it.

    Raises:
        ProgramFailed: The server broke, or answered nothing.
    """
    arguments = (RATE, seconds, MIX.short, MIX.long, MIX.long_share)
    with server() as port:
        await_all_workers(port, WORKERS, path="/4000")
        report = answer(python(uneven_client.open_loop, str(port), str(seed), *map(str, arguments)))
    return tail.of_requests(report, WARM_UP, WORKERS)


def _contenders(servers: Mapping[str, Server]) -> tuple[SeededContender, ...]:
    def sampled(server: Server) -> Callable[[int], Sample]:
        return lambda seed: tail.punctual(lambda: measured(server, seed))

    return (
        SeededContender(IDEAL, lambda seed: ideal(seed).sample),
        *(SeededContender(name, sampled(server), NEEDS.get(name, ())) for name, server in servers.items()),
    )


MEASUREMENT = Measurement(
    "P9",
    "99 % of requests of uneven work are answered within, four workers",
    "s",
    contenders=_contenders({**OURS, **PEERS}),
    comparisons=(
        *(Comparison(name, IDEAL, at_most(1.10)) for name in OURS),
        *(Comparison(name, IDEAL, at_most(1.25), figure="p90") for name in OURS),
        *(Comparison(name, peer, at_most(1.0)) for name in OURS for peer in PEERS),
    ),
    figure=tail.FIGURE,
    further=tail.FURTHER,
    baseline=IDEAL,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each run, and the medians; 1 if a contender broke."""
    options = _parser().parse_args(arguments)
    among = {**OURS, **PEERS, **(POLICIES if options.policies else {})}
    only = options.only or [*OURS, *(POLICIES if options.policies else {})]
    chosen = {name: server for name, server in among.items() if any(part in name for part in only)}
    failed = False
    ratios: dict[str, list[list[float]]] = {name: [] for name in chosen}
    for seed in options.seeds:
        best = ideal(seed, options.seconds)
        print(f"seed {seed}  {IDEAL:<29}  {_milliseconds(best)}", flush=True)
        for name, server in chosen.items():
            try:
                run = measured(server, seed, options.seconds)
            except ProgramFailed as error:
                failed = True
                print(f"seed {seed}  {name:<29}  FAILED: {error}", flush=True)
                continue
            ratios[name].append([run.seconds[p] / best.seconds[p] for p in tail.PERCENTILES])
            print(
                f"seed {seed}  {name:<29}  {_milliseconds(run)}  × ideal {_ratios(ratios[name][-1])}  {_rest(run)}",
                flush=True,
            )
    for name, runs in ratios.items():
        if runs:
            print(f"median  {name:<29}  × ideal {_ratios([median(column) for column in zip(*runs, strict=True)])}")
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.p9_tail", description="P9, one line a run.")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="one run of each contender with each (1 2 3)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        help="contenders whose names contain one of these (aiocluster's default policy)",
    )
    parser.add_argument("--policies", action="store_true", help="every policy by its name too, with uvicorn")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"of arrivals, {WARM_UP:g} of them to warm up ({SECONDS:g})"
    )
    return parser


def _milliseconds(run: Tail) -> str:
    return "  ".join(f"{name} {1000 * run.seconds[name]:6.1f}" for name in tail.PERCENTILES) + " ms"


def _ratios(values: Sequence[float]) -> str:
    return " ".join(f"{value:5.2f}" for value in values)


def _rest(run: Tail) -> str:
    late = f"client late {1000 * run.late:.1f} ms" + ("!" if run.late > tail.LATE else "")
    errors = f"  errors: {dict(run.errors)}" if run.errors else ""
    return f"{'/'.join(map(str, run.shares))}  {late}{errors}"


if __name__ == "__main__":
    sys.exit(main())
