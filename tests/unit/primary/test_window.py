"""How many connections a worker may be sent before it is ready with them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster._primary.ports.window import BUDGET, HOLD, HOLD_IF_SLOW, LATE, MOST, STICKY, Window

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


def test_the_first_ones_after_a_pause_decide() -> None:
    window = after(0.1)
    assert window.size == 1
    window.forget()
    sizes = []
    for _ in range(4):
        sizes.append(window.size)
        after(0.0001, window=window)
    assert sizes == [2, 2, 2, 2]  # careful: one may seem quick, but a few that are quick are believed
    assert window.size == MOST
    window.forget()
    after(0.1, window=window)
    assert window.size == 1  # one that is slow is believed at once


def test_a_pause_takes_nothing_away() -> None:
    window = Window()
    window.forget()
    assert window.size == MOST


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


def test_whose_connections_are_quick_is_held_for_longer() -> None:
    window = Window()
    window.sent(MOST, 1.0)
    assert window.held_until == pytest.approx(1.0 + HOLD)


def test_whose_connections_take_long_is_held_for_a_moment() -> None:
    window = after(*[0.1] * 16)
    window.sent(1, 0.05)
    assert window.held_until == pytest.approx(0.05 + HOLD_IF_SLOW)


def test_whose_connections_have_taken_long_a_few_times_is_held_for_longer() -> None:
    window = after(*[0.1] * 15)
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


STEPS = st.tuples(st.sampled_from(["wait", "send", "pull", "ready", "drop"]), st.integers(0, MOST), st.floats(0, 2))


@given(st.lists(STEPS, max_size=40))
def test_it_knows_what_a_plain_list_knows(steps: list[tuple[str, int, float]]) -> None:
    now, window = 0.0, Window()
    sent: list[float] = []  # when, of each connection that it is not ready with
    for step, number, seconds in steps:
        if step == "wait":
            now += seconds
        elif step in ("send", "pull"):  # what it pulls, it gets whether there is room or not
            count = number if step == "pull" else min(number, window.room)
            if count > 0:
                window.sent(count, now)
                sent += [now] * count
        else:
            count = min(number, len(sent))
            if step == "ready":
                window.ready(count, seconds, now)
            else:
                window.drop(count)
            del sent[:count]
        assert window.unready == len(sent)
        assert window.room == window.size - len(sent)
        assert 1 <= window.size <= MOST
        assert window.seconds < math.inf
        assert window.late_at == (sent[0] + LATE if sent else math.inf)
        assert window.held_until <= window.late_at


def test_what_is_left_of_a_later_batch_is_as_old_as_that() -> None:
    window = Window()
    window.sent(1, 0.0)
    window.sent(2, 1.0)
    window.drop(2)
    assert window.late_at == 1.0 + LATE
