"""P13: the memory of a real application: the sum of the proportional shares (PSS) of all of a server's processes.

Four or eight workers serve the same FastAPI application, which has imported pydantic, SQLAlchemy and numpy and uses
them in each request. When each has answered 1,000 requests over one connection, all processes that the server consists
of are counted: its primary or master and its fork server, too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import psutil

from .measurement import Comparison, Contender, Measurement, Sample, at_most
from .p7_memory import proportional_share
from .peers import asgi_server
from .programs import READY_WITHIN, ProgramFailed

REQUESTS = 1_000
APP = f"{__package__}.real_app:app"
PACKAGES = ("fastapi", "numpy", "pydantic", "sqlalchemy", "uvicorn")

TEMPLATE = "aiocluster, template"
SPAWN = "aiocluster, spawn"
UVICORN = "uvicorn --workers"
GUNICORN = "gunicorn --preload"

SERVERS: dict[str, tuple[str, ...]] = {
    TEMPLATE: ("aiocluster", "--start-method", "template"),
    UVICORN: ("uvicorn",),
    GUNICORN: ("gunicorn", "--preload"),
    SPAWN: ("aiocluster",),
}
"""The server, and options of its own."""


def memory(server: str, workers: int) -> float:
    """Bytes of all its processes, when each worker has answered its requests."""
    program, *options = SERVERS[server]
    before = {process.pid for process in psutil.Process().children()}
    with asgi_server(program, workers, APP, options) as port:
        connections = one_each(port, workers)
        try:
            with ThreadPoolExecutor(workers) as threads:
                for _ in threads.map(_ask, connections):
                    pass
            started = [process for process in psutil.Process().children() if process.pid not in before]
            counted = [*started, *(child for process in started for child in process.children(recursive=True))]
            return float(sum(proportional_share(process.pid) for process in counted))
        finally:
            for connection in connections:
                connection.close()


def one_each(port: int, workers: int) -> list[HTTPConnection]:
    """A connection to each of the workers. Which one has accepted a connection, its answer tells.

    Raises:
        ProgramFailed: Some workers never answered.
    """
    deadline = time.monotonic() + READY_WITHIN
    found: dict[int, HTTPConnection] = {}
    while len(found) < workers:
        if time.monotonic() > deadline:
            raise ProgramFailed(f"only {len(found)} of {workers} workers have ever answered")
        some = [HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN) for _ in range(4 * workers)]
        for connection in some:
            connection.request("GET", "/")
        for connection in some:
            if found.setdefault(_worker(connection), connection) is not connection:
                connection.close()
    return list(found.values())


def _ask(connection: HTTPConnection) -> None:
    for _ in range(REQUESTS):
        connection.request("GET", "/")
        _worker(connection)


def _worker(connection: HTTPConnection) -> int:
    """The pid in an answer."""
    return int(json.loads(connection.getresponse().read())["pid"])


def _sample(server: str, workers: int) -> Callable[[], Sample]:
    def sample() -> Sample:
        if sys.platform != "linux":
            raise ProgramFailed("there is no /proc/PID/smaps_rollup here")
        return Sample(memory(server, workers))

    return sample


def _measurement(name: str, workers: int, comparisons: tuple[Comparison, ...]) -> Measurement:
    return Measurement(
        name,
        f"memory of a real application with {workers} workers",
        "B",
        contenders=tuple(
            Contender(server, _sample(server, workers), needs=(*PACKAGES, *({program} - {"aiocluster", "uvicorn"})))
            for server, (program, *_) in SERVERS.items()
        ),
        comparisons=comparisons,
    )


EIGHT = _measurement(
    "P13",
    8,
    (
        Comparison(TEMPLATE, UVICORN, at_most(0.35)),
        Comparison(TEMPLATE, GUNICORN, at_most(1.0)),
        Comparison(SPAWN, UVICORN),
    ),
)
FOUR = _measurement(
    "P13FOUR", 4, (Comparison(TEMPLATE, UVICORN), Comparison(TEMPLATE, GUNICORN), Comparison(SPAWN, UVICORN))
)
