"""Which workers are due to be replaced: samples in, decisions out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster._supervise.health import HealthCheck, Limits, Sample

HEALTHY = Sample(silence=0.1, heartbeat=0.25, age=1.0, memory=1000, connections=1)
NAMES = ["hang_timeout", "max_memory", "max_lifetime", "max_connections"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan"), float("-inf")])
def test_a_limit_must_be_above_0(name: str, value: float) -> None:
    with pytest.raises(ValueError) as caught:
        Limits(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == f"{name} must be a number above 0, not {value!r}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["1", True, [1], b"1"])
def test_a_limit_must_be_a_number(name: str, value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        Limits(**{name: value})
    assert str(caught.value) == f"{name} must be a number above 0, not {value!r}"


@pytest.mark.parametrize("name", NAMES)
def test_each_limit_alone_is_something_to_watch(name: str) -> None:
    assert Limits(**{name: 0.5}).are_set  # type: ignore[arg-type]
    assert not Limits().are_set


def test_the_wrong_one_of_several_is_named() -> None:
    with pytest.raises(ValueError, match=r"^max_connections must"):
        Limits(hang_timeout=1, max_memory=None, max_lifetime=1, max_connections=0)


def test_a_worker_is_hung_once_it_is_silent_for_longer_than_the_limit() -> None:
    check = HealthCheck(Limits(hang_timeout=2.0), chance=0.5)
    assert not check.is_hung(replace(HEALTHY, silence=2.0))
    assert check.is_hung(replace(HEALTHY, silence=2.001))


def test_one_that_reports_too_seldom_for_the_limit_is_given_the_time_of_four_reports() -> None:
    check = HealthCheck(Limits(hang_timeout=2.0), chance=0.5)
    assert not check.is_hung(replace(HEALTHY, heartbeat=1.0, silence=4.0))
    assert check.is_hung(replace(HEALTHY, heartbeat=1.0, silence=4.001))


def test_a_worker_without_an_event_loop_is_not_hung() -> None:
    assert not HealthCheck(Limits(hang_timeout=2.0), chance=0.5).is_hung(replace(HEALTHY, silence=None))


def test_without_limits_nothing_is_due() -> None:
    check = HealthCheck(Limits(), chance=0.5)
    worst = Sample(silence=1e9, heartbeat=1.0, age=1e9, memory=10**15, connections=10**9)
    assert not check.is_hung(worst)
    assert check.why_due(worst) is None


def test_a_healthy_worker_is_not_due() -> None:
    check = HealthCheck(Limits(hang_timeout=2, max_memory=2000, max_lifetime=10, max_connections=10), chance=0.5)
    assert check.why_due(HEALTHY) is None
    assert not check.is_hung(HEALTHY)


def test_memory_counts_exactly() -> None:
    limit = 2 * 2**20
    check = HealthCheck(Limits(max_memory=limit), chance=0.5)
    assert check.why_due(replace(HEALTHY, memory=limit)) is None
    assert check.why_due(replace(HEALTHY, memory=limit + 1)) is not None
    why = check.why_due(replace(HEALTHY, memory=3 * 2**20))
    assert why == "it has 3.0 MiB of memory, more than max_memory (2.0 MiB)"


@pytest.mark.parametrize(("chance", "limit"), [(0.0, 1000), (0.5, 950), (1.0, 900)])
def test_age_counts_from_a_moment_in_the_last_tenth_on(chance: float, limit: float) -> None:
    check = HealthCheck(Limits(max_lifetime=1000), chance)
    assert check.why_due(replace(HEALTHY, age=limit)) is None
    assert check.why_due(replace(HEALTHY, age=limit + 0.1)) == f"it has lived for {limit} s (max_lifetime 1000)"


@pytest.mark.parametrize(("chance", "limit"), [(0.0, 1000), (0.5, 950), (1.0, 900)])
def test_connections_count_from_a_number_in_the_last_tenth_on(chance: float, limit: int) -> None:
    check = HealthCheck(Limits(max_connections=1000), chance)
    assert check.why_due(replace(HEALTHY, connections=limit - 1)) is None
    why = f"it has served {limit} connections (max_connections 1000)"
    assert check.why_due(replace(HEALTHY, connections=limit)) == why


@given(st.floats(0, 2000), st.floats(0, 2000), st.floats(0, 1))
def test_one_that_is_due_stays_due(age: float, later: float, chance: float) -> None:
    check = HealthCheck(Limits(max_lifetime=1000), chance)
    if check.why_due(replace(HEALTHY, age=age)):
        assert check.why_due(replace(HEALTHY, age=age + later))
