"""Who does uneven work in four workers, and the measurements and the quick runs made of that."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

from . import peers, tail
from .answering import await_all_workers
from .measurement import Comparison, Measurement, Sample, SeededContender
from .own_process import python
from .programs import ProgramFailed, serving
from .tail import Tail
from .uneven_servers import APP, serve, serve_blocking

WORKERS = 4
IDEAL = "ideal queue"

Server = Callable[[], AbstractContextManager[int]]
"""Starts one; yields its port."""


def _ours(kind: str, *scheduling: str) -> Server:
    return lambda: serving(python(serve, kind, str(WORKERS), *scheduling))


def _asgi(server: str) -> Server:
    return lambda: peers.asgi_server(server, WORKERS, APP)


@contextmanager
def _nginx() -> Iterator[int]:
    with ExitStack() as running:
        ports = [running.enter_context(peers.asgi_server("uvicorn", 1, APP)) for _ in range(WORKERS)]
        yield running.enter_context(peers.nginx_before(ports, "least_conn"))


def _node(policy: str) -> Server:
    return lambda: serving(peers.node("uneven.js", str(WORKERS), policy))


OURS: dict[str, Server] = {
    "aiocluster, streams": _ours("streams"),
    "aiocluster, uvicorn": _ours("uvicorn"),
}
"""With the default policy."""
PEERS: dict[str, Server] = {
    "uvicorn --workers": _asgi("uvicorn"),
    "gunicorn, ASGI worker": _asgi("gunicorn"),
    "granian": _asgi("granian"),
    "nginx least_conn, uvicorn": _nginx,
    "Node cluster, round robin": _node("round_robin"),
}
BLOCKING: dict[str, Server] = {
    "blocking processes": lambda: serving(python(serve_blocking, str(WORKERS))),
}
"""No rival, as each has one connection at a time: what this machine makes of the ideal queue at this hour."""
POLICIES: dict[str, Server] = {
    f"aiocluster, {policy}": _ours("uvicorn", policy)
    for policy in ("round_robin", "least_busy", "least_connections", "fair", "random", "shared", "reuse_port")
}
"""By name, with uvicorn."""
NEEDS = {
    "uvicorn --workers": ("uvicorn",),
    "gunicorn, ASGI worker": ("gunicorn", "uvicorn"),
    "granian": ("granian",),
    "nginx least_conn, uvicorn": ("nginx", "uvicorn"),
    "Node cluster, round robin": ("node",),
    "aiocluster, uvicorn": ("uvicorn",),
    **dict.fromkeys(POLICIES, ("uvicorn",)),
}


@dataclass(frozen=True)
class Load:
    """A load that comes from a seed."""

    seconds: float
    """How long it lasts, with its warm-up."""
    ideal: Callable[[int, float], Tail]
    """Of a seed and so many seconds: what one queue before all workers would do."""
    put_on: Callable[[int, int, float], Tail]
    """Puts it on a port, of a seed, for so many seconds."""

    def measured(self, server: Server, seed: int, seconds: float) -> Tail:
        """One run: start the server, put the load on, end it.

        Raises:
            ProgramFailed: The server broke, or answered nothing.
        """
        with server() as port:
            await_all_workers(port, WORKERS, path="/4000")  # they sleep, so that one alone can't have them all
            return self.put_on(port, seed, seconds)


def measurement(
    name: str, title: str, load: Load, servers: Mapping[str, Server], *comparisons: Comparison
) -> Measurement:
    """Of the servers and the ideal under a load; a round's number is its seed."""

    def sampled(server: Server) -> Callable[[int], Sample]:
        return lambda seed: tail.punctual(lambda: load.measured(server, seed, load.seconds).sample)

    return Measurement(
        name,
        title,
        "s",
        contenders=(
            SeededContender(IDEAL, lambda seed: load.ideal(seed, load.seconds).sample),
            *(SeededContender(name, sampled(server), NEEDS.get(name, ())) for name, server in servers.items()),
        ),
        comparisons=comparisons,
        figure=tail.FIGURE,
        further=tail.FURTHER,
        baseline=IDEAL,
    )


def quick(program: str, load: Load, servers: Mapping[str, Server], arguments: Sequence[str] | None = None) -> int:
    """The load's own command: print a line for each run as it ends, and the medians.

    Nobody is left out because the client was late: the line says how late it was.

    Returns:
        1 if a contender broke, else 0.
    """
    options = _parser(program, load.seconds).parse_args(arguments)
    policies = POLICIES if options.policies else {}
    only = options.only or [*OURS, *policies]
    chosen: dict[str, Server] = {}
    for name, server in {**servers, **policies}.items():
        if not any(part in name for part in only):
            continue
        if reasons := [reason for need in NEEDS.get(name, ()) if (reason := peers.missing(need))]:
            print(f"{name}: skipped: {'; '.join(reasons)}")
        else:
            chosen[name] = server
    width = max(map(len, [IDEAL, *chosen]))
    failed = False
    ratios: dict[str, list[list[float]]] = {name: [] for name in chosen}
    for seed in options.seeds:
        best = load.ideal(seed, options.seconds)
        print(f"seed {seed}  {IDEAL:<{width}}  {best}", flush=True)
        for name, server in chosen.items():
            try:
                run = load.measured(server, seed, options.seconds)
            except ProgramFailed as error:
                failed = True
                print(f"seed {seed}  {name:<{width}}  FAILED: {error}", flush=True)
                continue
            ratios[name].append(run.beside(best))
            print(f"seed {seed}  {name:<{width}}  {run}  × ideal {_ratios(ratios[name][-1])}", flush=True)
    for name, rows in ratios.items():
        if rows:
            columns = zip(*rows, strict=True)
            print(f"median  {name:<{width}}  × ideal {_ratios([median(column) for column in columns])}")
    return int(failed)


def _parser(program: str, seconds: float) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description="One line for each run.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="a run with each (1 2 3)")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        help="contenders whose names contain one of these (aiocluster with its default policy)",
    )
    parser.add_argument("--policies", action="store_true", help="every policy by its name too, with uvicorn")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of load, with the warm-up ({seconds:g})")
    return parser


def _ratios(values: Sequence[float]) -> str:
    return " ".join(f"{value:5.2f}" for value in values)
