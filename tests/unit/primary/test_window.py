"""How many connections a worker may be sent before it is ready with them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aiocluster._primary.ports.window import BUDGET, HOLD, LATE, MOST, STICKY, Window

COUNTS = st.integers(1, MOST)
SECONDS = st.floats(0, 10)


def after(*seconds: float, window: Window | None = None) -> Window:
    """A window whose worker has taken these seconds, for one connection after the other."""
    window = window or Window()
    for number, each in enumerate(seconds):
        window.sent(1, number * 0.01)
        window.ready(1, each, number * 0.01)
    return window


def test_a_new_worker_gets_many_and_is_not_late() -> None:
    window = Window()
    assert (window.size, window.room, window.unready) == (MOST, MOST, 0)
    assert not window.is_late(1e9)


def test_what_is_sent_takes_room_until_the_worker_is_ready_with_it() -> None:
    window = Window()
    window.sent(3, 0.0)
    assert (window.room, window.unready) == (MOST - 3, 3)
    window.ready(2, 0.0, 0.001)
    assert (window.room, window.unready) == (MOST - 1, 1)
    window.drop(1)
    assert (window.room, window.unready) == (MOST, 0)


@pytest.mark.parametrize(
    ("seconds", "size"), [(0.0, MOST), (0.00001, MOST), (0.0005, 6), (0.001, 3), (0.0014, 2), (0.0016, 1), (10.0, 1)]
)
def test_it_is_as_many_as_take_three_milliseconds(seconds: float, size: int) -> None:
    assert after(*[seconds] * 20).size == size


def test_the_first_ones_after_a_pause_decide_at_once() -> None:
    window = after(0.1)
    assert window.size == 1
    window.sent(1, 10.0)
    assert window.size == 2  # careful, but one that is quick comes to light at once
    window.ready(1, 0.0001, 10.1)
    assert window.size == MOST


def test_a_pause_takes_nothing_away() -> None:
    window = Window()
    window.sent(1, 10.0)
    window.ready(1, 0.0, 10.0)
    window.sent(1, 20.0)
    assert window.size == MOST


def test_no_pause_while_it_is_not_ready() -> None:
    window = after(0.1)
    window.sent(1, 0.0)
    window.sent(1, 100.0)
    assert window.size == 1


def test_one_long_request_among_many_quick_ones_does_not_close_it() -> None:
    window = after(*[0.0001] * 100)
    window.sent(1, 1.0)
    window.ready(1, 0.02, 1.0)
    assert window.size > 1


def test_many_long_ones_close_it_soon() -> None:
    assert after(*[0.0001] * 100, *[0.02] * 4).size == 1


def test_time_without_connections_counts_too() -> None:
    """A handshake goes on after its connection has been counted."""
    window = Window()
    window.sent(1, 0.0)
    window.ready(1, 0.0001, 0.001)
    window.ready(0, 0.01, 0.011)
    assert window.size == 1


def test_it_is_late_with_its_oldest_connection() -> None:
    window = Window()
    window.sent(1, 1.0)
    window.sent(2, 1.01)
    assert not window.is_late(1.0 + LATE * 0.99)
    assert window.is_late(1.0 + LATE)
    window.ready(1, 0.0, 1.0)
    assert not window.is_late(1.0 + LATE)
    assert window.is_late(1.01 + LATE)
    window.drop(1)
    assert window.is_late(1.01 + LATE)  # there was another one
    window.ready(1, 0.0, 1.0)
    assert window.late_at == math.inf


def test_what_comes_later_does_not_make_it_less_late() -> None:
    window = Window()
    window.sent(1, 1.0)
    window.sent(1, 1.0 + LATE / 2)
    assert window.is_late(1.0 + LATE)


def test_whose_connections_are_quick_is_held_until_it_is_late() -> None:
    window = Window()
    window.sent(MOST, 1.0)
    assert window.held_until == window.late_at == 1.0 + LATE


def test_whose_connections_take_long_is_held_for_a_moment() -> None:
    window = after(0.1)
    window.sent(1, 0.05)
    assert window.held_until == pytest.approx(0.05 + HOLD)


def test_under_a_sticky_policy_it_stays_large_and_the_worker_is_never_late() -> None:
    window = after(*[1.0] * 20, window=Window(is_sticky=True))
    assert window.size == STICKY
    window.sent(1, 1.0)
    window.sent(1, 100.0)
    assert window.size == STICKY
    assert not window.is_late(1e9)
    window.ready(1, 1.0, 100.0)
    assert not window.is_late(1e9)


@given(st.lists(SECONDS, min_size=1, max_size=50))
def test_its_average_is_between_the_extremes(seconds: list[float]) -> None:
    window = after(*seconds)
    assert min(seconds) * 0.999 - 1e-9 <= window.seconds <= max(seconds) * 1.001 + 1e-9
    assert 1 <= window.size <= MOST
    assert window.size == 1 or window.size * window.seconds <= BUDGET * 1.001


class History(RuleBasedStateMachine):
    """A window beside a plain list of what was sent when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sent: list[float] = []
        self.window = Window()

    @rule(seconds=st.floats(0, 2, allow_subnormal=False))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.window.room > 0)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, self.window.room))
        self.window.sent(count, self.now)
        self.sent += [self.now] * count

    @rule(count=COUNTS)
    def pull(self, count: int) -> None:
        """The worker has accepted some itself, whether there is room or not."""
        self.window.sent(count, self.now)
        self.sent += [self.now] * count

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), seconds=SECONDS)
    def ready(self, data: st.DataObject, seconds: float) -> None:
        count = data.draw(st.integers(0, len(self.sent)))
        self.window.ready(count, seconds, self.now)
        del self.sent[:count]

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.sent)))
        self.window.drop(count)
        del self.sent[:count]

    @invariant()
    def counts_what_it_was_sent(self) -> None:
        assert self.window.unready == len(self.sent)
        assert self.window.room == self.window.size - len(self.sent)

    @invariant()
    def is_late_with_the_oldest_one(self) -> None:
        assert self.window.late_at == (self.sent[0] + LATE if self.sent else math.inf)

    @invariant()
    def has_a_size(self) -> None:
        assert 1 <= self.window.size <= MOST
        assert 0 <= self.window.seconds < math.inf

    @invariant()
    def is_held_for_a_while_at_most(self) -> None:
        assert self.window.held_until <= self.window.late_at


TestHistory = History.TestCase
