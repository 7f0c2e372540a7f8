"""The benchmarks' client of uneven work, against real servers: it asks what was planned, and hides nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

from tests.benchmarks import tail, uneven_client
from tests.benchmarks.answering import await_all_workers
from tests.benchmarks.own_process import python
from tests.benchmarks.programs import ProgramFailed, answer, serving
from tests.benchmarks.uneven_client import Answer
from tests.benchmarks.uneven_servers import serve, serve_blocking
from tests.benchmarks.uneven_work import Mix, poisson

MIX = Mix(short=0.001, long=0.010, long_share=0.1)
SEED, RATE, SECONDS = 3, 100.0, 1.0


def open_loop(port: int) -> dict[str, Any]:
    steps = json.dumps([(SECONDS, RATE)])
    report: dict[str, Any] = answer(
        python(uneven_client.open_loop, str(port), str(SEED), steps, json.dumps(MIX)),
    )
    return report


def test_each_planned_request_is_asked_once_and_timed_from_when_it_was_due() -> None:
    with serving(python(serve_blocking, "2")) as port:
        pids = await_all_workers(port, 2, path="/1000")
        report = open_loop(port)
    planned = poisson(SEED, RATE, SECONDS, MIX)
    answers = sorted(Answer(*fields) for fields in report["answers"])
    assert report["errors"] == {}
    assert [each.at for each in answers] == [request.at for request in planned]
    assert {each.pid for each in answers} <= pids
    for each, request in zip(answers, planned, strict=True):
        assert each.late >= 0
        assert each.latency >= each.late + request.seconds
    assert len({each.connection for each in answers}) == len(planned)


def test_connections_that_stay_ask_again_and_again() -> None:
    with serving(python(serve, "streams", "2")) as port:
        await_all_workers(port, 2)
        command = python(uneven_client.closed_loop, str(port), str(SEED), "8", "0.01", str(SECONDS), json.dumps(MIX))
        report = answer(command)
    answers = [Answer(*fields) for fields in report["answers"]]
    assert report["errors"] == {}
    assert {each.connection for each in answers} == set(range(8))
    assert len(answers) > 2 * 8
    assert list(tail.of_connections(report, 0.0, 2).shares) == [4, 4]


@contextmanager
def closing_at_once() -> Iterator[int]:
    def close_all() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            accepted.close()

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        thread = Thread(target=close_all)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_what_is_not_answered_is_counted_and_not_timed() -> None:
    with closing_at_once() as port:
        report = open_loop(port)
    assert report["answers"] == []
    assert sum(report["errors"].values()) == len(poisson(SEED, RATE, SECONDS, MIX))
    with pytest.raises(ProgramFailed, match="not one request was answered"):
        tail.of_requests(report, 0.0, 2)
