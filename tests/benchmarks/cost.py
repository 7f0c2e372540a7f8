"""COST: the processor time and the calls of an operation of P1 to P4 and P8, with metrics on and off.

On: the page is scraped each second, and each worker's loop is watched (``slow_loop``). Off: neither, in the same
programs with the same packages imported.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from . import p1_one_way, p2_round_trip, p3_between_workers, p4_connections, p8_keep_alive
from .calls import counted, of_each, told_to_count
from .checkout import Checkout
from .measurement import Calls, Comparison, Measurement, OwnContender, Sample, at_most
from .peers import CLIENTS, free_port, sampled, wrk, wrk_connections, wrk_keep_alive, wrk_requests
from .primaries import METRICS
from .processor import family
from .programs import READY_WITHIN, ProgramFailed, serving

INTERVAL = 1.0
"""Seconds between two scrapes."""
_TIMES = 8
"""How many times as many operations as P1 and P3 do: several scrapes are to fall into a sample."""

OFF, ON = "off", "on"


@dataclass(frozen=True)
class _Program:
    """What is measured.

    Attributes:
        command: Its command in a checkout, with so many times as many operations where that can be said.
        sample: Runs it.
        count: Runs it, and counts its calls.
        processes: Those that take part.
    """

    command: Callable[[Checkout, int], list[str]]
    sample: Callable[[Sequence[str]], Sample]
    count: Callable[[Sequence[str]], Mapping[str, Calls]]
    processes: tuple[str, ...]


def _messages(
    function: Callable[..., object], operations: int, processes: tuple[str, ...], warm_up: int = 0
) -> _Program:
    """A program that measures by itself."""
    return _Program(
        lambda checkout, times: checkout.python(function, str(times * operations)),
        sampled,
        lambda command: counted(command, operations + warm_up),
        processes,
    )


def _server(
    function: Callable[..., object], argument: str, load: Callable[..., Sample], count: Callable[[int], int]
) -> _Program:
    """A server that wrk asks."""

    def sample(command: Sequence[str]) -> Sample:
        with serving(command) as port:
            return load(port, family())

    def calls(command: Sequence[str]) -> Mapping[str, Calls]:
        with told_to_count(command) as (counting_command, folder):
            with serving(counting_command) as port:
                operations = count(port)
            return of_each(folder, operations)

    return _Program(lambda checkout, times: checkout.python(function, argument), sample, calls, ("primary", "workers"))


def _connections(policy: str) -> _Program:
    return _server(p4_connections.serve, policy, wrk, partial(wrk_connections, clients=CLIENTS))


def _measurement(name: str, what: str, program: _Program, needs: tuple[str, ...] = ()) -> Measurement:
    def contender(name: str, told: Callable[[Sequence[str]], AbstractContextManager[list[str]]]) -> OwnContender:
        def sample(checkout: Checkout) -> Sample:
            with told(program.command(checkout, _TIMES)) as command:
                taken = program.sample(command)
            return replace(taken, value=sum(taken.cpu.values()), further=taken.cpu)

        def calls(checkout: Checkout) -> Mapping[str, Calls]:
            with told(program.command(checkout, 1)) as command:
                return program.count(command)

        return OwnContender(name, sample, needs, calls)

    return Measurement(
        name,
        f"CPU time of {what}, metrics and slow_loop on and off",
        "s",
        contenders=(contender(OFF, _told_nothing), contender(ON, _told_to_serve_metrics)),
        comparisons=(Comparison(ON, OFF, at_most(1.02)),),
        figure="all of them",
        further=program.processes,
        baseline=OFF,
    )


@contextmanager
def _told_nothing(command: Sequence[str]) -> Iterator[list[str]]:
    yield ["env", f"{METRICS}=", *command]


@contextmanager
def _told_to_serve_metrics(command: Sequence[str]) -> Iterator[list[str]]:
    port = free_port()
    with scraping(port):
        yield ["env", f"{METRICS}=127.0.0.1:{port}", *command]


@contextmanager
def scraping(port: int) -> Iterator[None]:
    """Asks for the page at this port each second, from when it is there, during the block.

    Raises:
        ProgramFailed: It was never answered with what the workers say.
    """
    is_over = threading.Event()
    pages: list[bytes] = []
    thread = threading.Thread(target=_scrape, args=(port, is_over, pages))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if not any(b'aiocluster_loop_busy_ratio{slot="0"}' in page for page in pages):
        raise ProgramFailed(f"the page of metrics was answered {len(pages)} times, but never with its workers")


def _scrape(port: int, is_over: threading.Event, pages: list[bytes]) -> None:
    while not is_over.wait(INTERVAL if pages else 0.02):
        # Nobody listens before the primary is there, and no longer when it ends.
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN)
            try:
                connection.request("GET", "/metrics")
                pages.append(connection.getresponse().read())
            finally:
                connection.close()


ALL = (
    _measurement("COST1", "a message (P1)", _messages(p1_one_way.receive, p1_one_way.MESSAGES, ("primary", "worker"))),
    _measurement(
        "COST2",
        "a request (P2)",
        _messages(
            p2_round_trip.request_round_trip, p2_round_trip.ROUND_TRIPS, ("primary", "worker"), p2_round_trip.WARM_UP
        ),
    ),
    _measurement(
        "COST3",
        "a message from worker to worker (P3)",
        _messages(p3_between_workers.introduce, p1_one_way.MESSAGES, ("primary", "sender", "receiver")),
    ),
    _measurement("COST4", "a connection (P4), least_busy", _connections("least_busy"), ("wrk",)),
    _measurement("COST4R", "a connection (P4), round_robin", _connections("round_robin"), ("wrk",)),
    _measurement("COST4S", "a connection (P4), shared", _connections("shared"), ("wrk",)),
    _measurement(
        "COST8",
        "a request that connections stay for (P8)",
        _server(p8_keep_alive.serve, str(p8_keep_alive.WORKERS), wrk_keep_alive, wrk_requests),
        ("wrk",),
    ),
)
