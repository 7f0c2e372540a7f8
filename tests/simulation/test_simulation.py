"""The simulation gives the same each time, and what is known by thought."""

from __future__ import annotations

import pytest

from aiocluster.scheduling import LeastConnections, RoundRobin

from . import table
from .everything import simulate
from .queueing import Run
from .traffic import SCENARIOS, Connection, Traffic


def test_requests_wait_for_those_before_them() -> None:
    client, target = ("10.0.0.1", 50000), b"/"
    arrivals = [Connection(at, client, target, ((0.0, 1.0),)) for at in (0.0, 0.1, 0.2, 0.3)]
    waits = Run(RoundRobin(), Traffic(arrivals, [1.0, 2.0]), is_weighted=False).outcome
    assert waits.imbalance == 1.0
    assert waits.p99 == pytest.approx(1.8)  # the fourth one's: its worker is busy until 2.1


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_traffic_is_the_same_each_time(scenario: str) -> None:
    first, second = (SCENARIOS[scenario](4, 1) for _ in range(2))
    assert first == second
    runs = [Run(LeastConnections(), traffic, is_weighted=False).outcome for traffic in (first, second)]
    assert runs[0] == runs[1]


def test_everything_takes_part() -> None:
    results = simulate([4])
    assert results["even"]["round_robin"][4].imbalance == 1.0
    assert "reuse_port" in table.text(results, [4])
    assert table.markdown(results, 4).count("\n") == 10
