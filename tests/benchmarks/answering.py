"""Who is there: servers whose answers are their workers' pids."""

from __future__ import annotations

import http.client
import time
from contextlib import ExitStack, closing

from .programs import READY_WITHIN, ProgramFailed


def await_all_workers(port: int, workers: int, path: str = "/") -> set[int]:
    """The workers' pids, once every one has answered; those that accept for themselves are not told of when they do.

    Raises:
        ProgramFailed: Some never answered.
    """
    deadline = time.monotonic() + READY_WITHIN
    seen: set[int] = set()
    while len(seen) < workers:
        if time.monotonic() > deadline:
            raise ProgramFailed(f"only {len(seen)} of {workers} workers have ever answered")
        with ExitStack() as open_ones:
            some = [
                open_ones.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN)))
                for _ in range(4 * workers)
            ]
            for connection in some:
                connection.request("GET", path)
            seen |= {int(connection.getresponse().read()) for connection in some}
    return seen
