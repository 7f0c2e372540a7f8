"""How busy a worker is, as its reports tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster._primary.ports.busy import BusyShare

shares = st.floats(0, 1)
seconds = st.floats(0.001, 60)


def test_nothing_is_known_before_the_first_report() -> None:
    assert BusyShare().value is None


def test_a_report_of_a_second_counts_for_three_tenths() -> None:
    busy = BusyShare()
    busy.reported(1.0, 1.0)
    assert busy.value == pytest.approx(0.3)  # it was idle before it was there
    busy.reported(0.0, 1.0)
    assert busy.value == pytest.approx(0.21)


@given(shares, shares, seconds, st.integers(1, 50))
def test_how_often_it_reports_makes_no_difference(before: float, share: float, seconds: float, parts: int) -> None:
    once, often = BusyShare(), BusyShare()
    for busy in (once, often):
        busy.reported(before, 5.0)
    once.reported(share, seconds)
    for _ in range(parts):
        often.reported(share, seconds / parts)
    assert often.value == pytest.approx(once.value)


@given(st.lists(st.tuples(shares, seconds), min_size=1))
def test_it_is_a_share_and_between_what_was_reported(reports: list[tuple[float, float]]) -> None:
    busy = BusyShare()
    for share, length in reports:
        busy.reported(share, length)
    assert busy.value is not None
    assert 0.0 <= busy.value <= max(share for share, _ in reports) + 1e-9


def test_a_silent_worker_is_busy() -> None:
    busy = BusyShare()
    busy.reported(0.0, 1.0)
    busy.silent(1.5)
    assert busy.value == pytest.approx(1 - 0.7**1.5)
    busy.silent(100.0)
    assert busy.value == pytest.approx(1.0)


def test_one_that_can_not_tell_is_unknown() -> None:
    busy = BusyShare()
    busy.silent(1.5)
    assert busy.value is not None
    busy.reported(None, 1.0)
    assert busy.value is None
