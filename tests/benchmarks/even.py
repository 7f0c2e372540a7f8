"""``python -m tests.benchmarks.even [--rounds N]``: how forty connections that stay are spread over four workers.

Not a matter of speed, so no ratio: each round opens forty connections, sends a request over each, and counts who
answers how many. Ten each is even.
"""

from __future__ import annotations

import argparse
import http.client
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing

from . import peers
from .answering import await_all_workers
from .p8_keep_alive import SERVERS
from .programs import READY_WITHIN, ProgramFailed, serving

WORKERS = 4
CONNECTIONS = 40

CONTENDERS: dict[str, Callable[[int], AbstractContextManager[int]]] = {
    **SERVERS,
    "Node cluster, round robin": lambda workers: serving(peers.node("keep_alive.js", str(workers), "round_robin")),
    "Node cluster, shared": lambda workers: serving(peers.node("keep_alive.js", str(workers), "shared")),
}


def spread(port: int) -> list[int]:
    """How many of the connections each worker has, most first."""
    with ExitStack() as open_ones:
        connections = [
            open_ones.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN)))
            for _ in range(CONNECTIONS)
        ]
        for connection in connections:
            connection.connect()
        shares = Counter(_answering(connection) for connection in connections)
    return sorted([*shares.values(), *[0] * (WORKERS - len(shares))], reverse=True)


def _answering(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/")
    return connection.getresponse().read()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a contender broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.even", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how many of each (3)")
    rounds = parser.parse_args(arguments).rounds
    width = max(map(len, CONTENDERS))
    print(f"{CONNECTIONS} connections over {WORKERS} workers; one column a round")
    failed = False
    for name, server in CONTENDERS.items():
        if name.startswith("Node") and (reason := peers.missing("node")):
            print(f"  {name:<{width}}  skipped: {reason}")
            continue
        try:
            with server(WORKERS) as port:
                await_all_workers(port, WORKERS)
                shares = ["/".join(map(str, spread(port))) for _ in range(rounds)]
        except (ProgramFailed, OSError, http.client.HTTPException) as error:
            failed = True
            print(f"  {name:<{width}}  FAILED: {error}")
        else:
            print(f"  {name:<{width}}  {'   '.join(f'{share:<12}' for share in shares)}".rstrip())
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
