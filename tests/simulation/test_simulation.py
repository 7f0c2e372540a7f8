"""The simulation gives the same each time, what is known by thought, and what the hand-over is to reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import pytest

from aiocluster._primary.ports.window import BUDGET
from aiocluster.scheduling import LeastConnections, Policy, RoundRobin

from . import table, traffic
from .contenders import POLICIES_AND_KERNEL, WINDOWS, by
from .everything import IDEAL, compare_policies, compare_windows
from .handover import BREATHING, TAKEN_64
from .ideal import single_queue
from .queueing import Acceptor, Run
from .traffic import NEW_CONNECTIONS, SCENARIOS, Connection, Traffic, burst, stalls

ORDERS = pytest.mark.parametrize("order", [RoundRobin, LeastConnections])


def four(slowness: list[float]) -> Traffic:
    """Four requests of a second, each 0.1 s after the one before."""
    arrivals = [Connection(at, ("10.0.0.1", 50000), b"/", ((0.0, 1.0),)) for at in (0.0, 0.1, 0.2, 0.3)]
    return Traffic(arrivals, slowness)


def one_seed(size: int) -> list[int]:
    return [1]


@pytest.fixture
def is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traffic is too short to say much."""
    monkeypatch.setattr(traffic, "FEWEST", 500)
    monkeypatch.setattr(traffic, "REQUESTS", 100)


def test_requests_wait_for_those_before_them() -> None:
    outcome = Run(by(RoundRobin, TAKEN_64), four([1.0, 2.0])).outcome
    assert outcome.imbalance == 1.0
    assert outcome.waited == pytest.approx(1.8, abs=0.001)  # the fourth one's: its worker is busy until 2.1
    assert outcome.p99 == pytest.approx(3.8, abs=0.001)


def test_in_the_ideal_queue_nobody_waits_beside_a_free_worker() -> None:
    outcome = single_queue(four([1.0, 1.0, 1.0]))
    assert outcome.waited == pytest.approx(0.7)  # the fourth one's, until the first one's worker is free
    assert outcome.lost == 0.0


def test_time_is_lost_where_a_request_waits_beside_a_free_worker() -> None:
    # Of both workers' 4.1 s, the first one is idle while the fourth request waits, from 1.2 to 2.1; before, the third
    # one waits beside busy workers.
    outcome = Run(by(RoundRobin, TAKEN_64), four([1.0, 2.0])).outcome
    assert outcome.lost == pytest.approx(0.1 / (2 * 4.1), abs=0.001)


@pytest.mark.usefixtures("is_short")
@pytest.mark.parametrize("make", [*SCENARIOS.values(), *NEW_CONNECTIONS.values()])
def test_traffic_is_the_same_each_time(make: Callable[[int, int], Traffic]) -> None:
    first, second = (make(4, 1) for _ in range(2))
    assert first == second
    outcomes = [Run(by(LeastConnections), each).outcome for each in (first, second)]
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("contender", [*POLICIES_AND_KERNEL, *WINDOWS], ids=lambda contender: contender.name)
def test_every_connection_comes_to_a_worker(contender: Any) -> None:
    workers = Run(contender.make, burst(1000)).workers
    assert sum(worker.accepted for worker in workers) == 1000


@ORDERS
@pytest.mark.parametrize("seed", [1, 2])
def test_nobody_waits_behind_a_worker_that_blocks(order: Callable[[], Policy[Any]], seed: int) -> None:
    blocking = NEW_CONNECTIONS["blocking"](4, seed)
    ideal = single_queue(blocking)
    outcome = Run(by(order, BREATHING), blocking).outcome
    assert outcome.p90 <= 1.15 * ideal.p90
    assert outcome.p99 <= 1.1 * ideal.p99
    assert outcome.lost <= 0.02


def test_without_that_window_they_wait() -> None:
    blocking = NEW_CONNECTIONS["blocking"](4, 1)
    assert Run(by(RoundRobin, TAKEN_64), blocking).outcome.p90 > 3 * single_queue(blocking).p90


@ORDERS
@pytest.mark.parametrize("scenario", ["mixed", "heavy-tailed"])
def test_workers_have_something_to_do_while_requests_wait(order: Callable[[], Policy[Any]], scenario: str) -> None:
    requests = NEW_CONNECTIONS[scenario](4, 1)
    ideal = single_queue(requests)
    outcome = Run(by(order, BREATHING), requests).outcome
    assert outcome.p99 <= 1.2 * ideal.p99
    assert outcome.lost <= 0.05


@ORDERS
def test_quick_connections_are_not_slowed_down(order: Callable[[], Policy[Any]]) -> None:
    quick = NEW_CONNECTIONS["quick"](4, 1)
    outcome, before = (Run(by(order, how), quick).outcome for how in (BREATHING, TAKEN_64))
    assert outcome.p50 <= before.p50
    assert outcome.p99 <= before.p99


@ORDERS
def test_connections_that_stay_are_spread_evenly(order: Callable[[], Policy[Any]]) -> None:
    workers = Run(by(order, BREATHING), burst(40)).workers
    assert [worker.accepted for worker in workers] == [10, 10, 10, 10]


@pytest.mark.usefixtures("is_short")
@pytest.mark.parametrize("count", [40, 400, 4000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_more_of_them_too_also_after_workers_have_blocked(count: int, seed: int) -> None:
    before = NEW_CONNECTIONS["blocking"](4, seed)
    at = before.connections[-1].at + 0.3
    workers = Run(by(LeastConnections), burst(count, at, before=before), until=at + 10).workers
    assert [worker.connections for worker in workers] == [count // 4] * 4


def test_and_beside_other_processes() -> None:
    spreads = []
    for seed in range(10):
        traffic = replace(burst(400, 0.1), stalls=stalls(seed, 0.0, 1.0))
        counts = [worker.connections for worker in Run(by(LeastConnections), traffic, until=10).workers]
        assert sum(counts) == 400
        spreads.append(max(counts) - min(counts))
    assert median(spreads) == 0  # not always: a worker may seem to be busy, when it has not run for so long


def test_nobody_waits_for_a_new_worker() -> None:
    """It has the fewest connections. If all waited for it, the others would have nothing to do."""

    def one_is_new(run: Run) -> Acceptor:
        primary = by(LeastConnections)(run)
        for worker in run.workers[1:]:
            worker.connections = 100
            primary.reported(worker)
        return primary

    quick = NEW_CONNECTIONS["quick"](4, 1)
    assert Run(one_is_new, quick).outcome.p99 <= single_queue(quick).p99 + 2 * BUDGET


@pytest.mark.usefixtures("is_short")
def test_everything_takes_part() -> None:
    policies = compare_policies([4], seeds=one_seed)
    assert policies["even"]["round_robin"][4].imbalance < policies["even"]["shared"][4].imbalance
    assert "reuse_port" in table.policies(policies, [4])
    assert table.policies_markdown(policies, 4).count("\n") == 1 + len(POLICIES_AND_KERNEL)
    windows = compare_windows([4], seeds=one_seed)
    assert IDEAL in table.windows(windows, [4], IDEAL)
    assert table.windows_markdown(windows, 4, IDEAL).count("\n") == 1 + len(WINDOWS)
