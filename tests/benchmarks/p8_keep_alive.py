"""P8: an ASGI application with two workers, over eight connections that stay.

All contenders run the same application. With so few connections, it decides which worker has how many: a server whose
workers accept for themselves has 8/0, 7/1 or 4/4, as the kernel wakes them. With one worker each, nothing is left but
what a request costs.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import Any

from .calls import counting
from .measurement import Comparison, Contender, Measurement, Sample, at_least, at_most
from .own_process import python
from .peers import asgi_server, wrk_keep_alive, wrk_latency
from .primaries import serve_with
from .processor import family
from .programs import serving

WORKERS = 2
APP = f"{__name__}:app"


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Answers each request with this process's pid."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = b"%d" % os.getpid()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def worker() -> None:
    """In each worker: uvicorn, which knows nothing of it."""
    import uvicorn

    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
    config.load()
    with counting("workers"):
        uvicorn.Server(config).run()


async def serve(workers: str) -> None:
    """In the primary: say the port when all workers listen, and serve until told to end."""
    await serve_with(worker, int(workers))


SERVERS: dict[str, Callable[[int], AbstractContextManager[int]]] = {
    "aiocluster, uvicorn": lambda workers: serving(python(serve, str(workers))),
    "uvicorn --workers": lambda workers: asgi_server("uvicorn", workers, APP),
    "gunicorn, ASGI worker": lambda workers: asgi_server("gunicorn", workers, APP),
    "granian": lambda workers: asgi_server("granian", workers, APP),
}
"""Starts each with so many workers; yields its port."""


def _contenders(load: Callable[[int], Sample], workers: int = WORKERS) -> tuple[Contender, ...]:
    def loaded(server: Callable[[int], AbstractContextManager[int]]) -> Callable[[], Sample]:
        def sample() -> Sample:
            with server(workers) as port:
                return load(port)

        return sample

    return tuple(Contender(name, loaded(server), needs=("wrk",)) for name, server in SERVERS.items())


def _measurement(name: str, what: str, workers: int) -> Measurement:
    return Measurement(
        name,
        what,
        "requests/s",
        contenders=_contenders(lambda port: wrk_keep_alive(port, family()), workers),
        comparisons=(
            Comparison("aiocluster, uvicorn", "uvicorn --workers", at_least(1.0)),
            Comparison("aiocluster, uvicorn", "gunicorn, ASGI worker"),
            Comparison("aiocluster, uvicorn", "granian"),
        ),
    )


MEASUREMENT = _measurement("P8", "requests over eight connections, two workers", WORKERS)

ONE_WORKER = _measurement("P8ONE", "requests over eight connections, one worker", 1)

LATENCY = Measurement(
    "P8P99",
    "99 % of these requests are answered within",
    "s",
    contenders=_contenders(wrk_latency),
    comparisons=(
        Comparison("aiocluster, uvicorn", "uvicorn --workers", at_most(1.0)),
        Comparison("aiocluster, uvicorn", "gunicorn, ASGI worker"),
        Comparison("aiocluster, uvicorn", "granian"),
    ),
)
