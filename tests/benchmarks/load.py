"""The load test: the same ASGI application in one process, and in a cluster of one, two and four workers.

Each request costs some CPU time, as an application's do, so more processes answer more of them, up to as many as there
are free cores. The load itself (wrk) needs a part of a core, too.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any

from .measurement import Contender, Measurement, Sample
from .own_process import python, stdin_closed
from .peers import wrk_keep_alive
from .primaries import serve_with
from .programs import serving

WORKERS = (1, 2, 4)
ROWS = [{"id": number, "name": f"item {number}", "price": number * 1.25, "tags": ["a", "b"]} for number in range(100)]
"""What a request renders: some tenths of a millisecond."""

ALONE = "one process"


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Answers each request with a page of JSON that it renders anew."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = json.dumps(ROWS).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def worker() -> None:
    """In each worker: uvicorn, which knows nothing of it."""
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)


async def cluster(workers: str) -> None:
    """In the primary: say the port when all workers listen, and serve until told to end."""
    await serve_with(worker, int(workers))


async def alone() -> None:
    """uvicorn by itself, without a cluster: say the port, and serve until told to end."""
    import asyncio

    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False))
    serve = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(json.dumps({"port": server.servers[0].sockets[0].getsockname()[1]}), flush=True)
    await stdin_closed()
    server.should_exit = True
    await serve


def _named(workers: int) -> str:
    return f"aiocluster, {workers} {'worker' if workers == 1 else 'workers'}"


def _loaded(start: Callable[[], AbstractContextManager[int]]) -> Callable[[], Sample]:
    def sample() -> Sample:
        with start() as port:
            return wrk_keep_alive(port)

    return sample


def _clusters() -> tuple[Contender, ...]:
    def start(workers: int) -> Callable[[], AbstractContextManager[int]]:
        return lambda: serving(python(cluster, str(workers)))

    return tuple(Contender(_named(workers), _loaded(start(workers)), needs=("wrk",)) for workers in WORKERS)


MEASUREMENT = Measurement(
    "LOAD",
    "requests with some CPU work, one process against several",
    "requests/s",
    contenders=(Contender(ALONE, _loaded(lambda: serving(python(alone))), needs=("wrk",)), *_clusters()),
    comparisons=(),
    baseline=ALONE,
)
