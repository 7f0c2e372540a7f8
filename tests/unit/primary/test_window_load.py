"""What the autoscaler and new workers are told by windows."""

from __future__ import annotations

import math

import pytest

from aiocluster._primary.ports.window import MOST, Window, usual_seconds


def test_a_new_workers_connections_are_expected_to_take_as_long_as_the_others() -> None:
    others = [Window(), Window(), Window()]
    others[0].ready(1, 0.01, 100.0)
    others[1].ready(1, 0.03, 100.0)
    assert usual_seconds(others) == pytest.approx(0.02)
    new = Window()
    new.expect(usual_seconds(others), 100.0)
    assert new.size == 1
    new.ready(1, 0.0001, 100.01)  # what it does itself counts as much
    assert new.seconds == pytest.approx((0.02 + 0.0001) / 2)
    assert usual_seconds([Window()]) == 0.0
    unknown = Window()
    unknown.expect(0.0, 100.0)
    assert unknown.size == MOST


def test_since_when_it_is_busy_with_its_oldest_connection() -> None:
    window = Window()
    assert window.busy_since == math.inf
    window.sent(2, 100.0)
    window.sent(1, 101.0)
    assert window.busy_since == 100.0
    window.ready(1, 0.5, 100.5)
    assert window.busy_since == 100.5
    window.ready(1, 0.2, 100.7)
    assert window.busy_since == 101.0
