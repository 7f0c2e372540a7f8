"""May this worker be restarted now? Times in, decisions out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster import RestartPolicy
from aiocluster._supervise.restart import RestartHistory


def test_the_defaults_are_the_promised_ones() -> None:
    assert RestartPolicy() == RestartPolicy(limit=10, period=60.0, backoff=(0.0, 5.0))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"limit": -1}, "limit must be a whole number from 0 on, not -1"),
        ({"period": 0}, "period must be a number of seconds above 0, not 0"),
        ({"period": -1.0}, "period must be"),
        ({"period": float("nan")}, "period must be"),
        ({"backoff": (-1, 5)}, "backoff must be a number of seconds from 0 on, not -1"),
        ({"backoff": (5, 1)}, "backoff must be"),
        ({"backoff": (0, float("nan"))}, "backoff must be"),
    ],
)
def test_what_is_out_of_range_is_named(settings: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        RestartPolicy(**settings)  # type: ignore[arg-type]
    assert str(caught.value).startswith(text)


def test_the_first_replacement_starts_after_the_shortest_wait() -> None:
    assert RestartHistory(RestartPolicy()).ended("a", 100.0, 0.5) == 0.0
    assert RestartHistory(RestartPolicy(backoff=(0.5, 5))).ended("a", 100.0, 0.5) == 0.5


@pytest.mark.parametrize(
    ("chance", "expected"),
    [
        (0.0, [1, 1, 1.5, 3, 6, 12, 16, 16]),
        (0.25, [1, 1, 1.75, 3.5, 7, 14, 16, 16]),
        (0.5, [1, 1, 2, 4, 8, 16, 16, 16]),
        (1.0, [1, 1.25, 2.5, 5, 10, 16, 16, 16]),
    ],
)
def test_each_further_one_waits_twice_as_long_up_to_the_longest(chance: float, expected: list[float]) -> None:
    """By chance, up to a quarter less or more, but within the shortest and the longest."""
    history = RestartHistory(RestartPolicy(limit=20, backoff=(1.0, 16.0)))
    assert [history.ended("a", float(second), chance) for second in range(8)] == expected


def test_with_a_shortest_wait_of_nothing_the_second_replacement_waits_a_little() -> None:
    history = RestartHistory(RestartPolicy())
    assert [history.ended("a", float(second), 0.5) for second in range(4)] == [0.0, 0.1, 0.2, 0.4]


def test_a_failing_slot_does_not_delay_a_healthy_one() -> None:
    history = RestartHistory(RestartPolicy(backoff=(0.0, 5.0)))
    for second in range(5):
        history.ended("failing", float(second), 0.5)
    assert history.ended("healthy", 5.0, 0.5) == 0.0


def test_one_end_more_than_the_limit_is_too_many() -> None:
    history = RestartHistory(RestartPolicy(limit=3, period=60))
    assert all(history.ended(slot, 0.0, 0.5) is not None for slot in ("a", "b", "c"))
    assert history.ended("d", 60.0, 0.5) is None
    assert history.ended("a", 60.0, 0.5) is None


def test_ends_before_the_period_count_no_more() -> None:
    history = RestartHistory(RestartPolicy(limit=3, period=60))
    for second in (0.0, 1.0, 2.0):
        assert history.ended("a", second, 0.5) is not None
    assert history.ended("a", 60.5, 0.5) is not None  # the first one is forgotten
    assert history.ended("a", 60.9, 0.5) is None
    assert history.ended("a", 1000.0, 0.5) == 0.0  # all of them are, and so is the wait


def test_a_limit_of_nothing_replaces_nobody() -> None:
    assert RestartHistory(RestartPolicy(limit=0)).ended("a", 0.0, 0.5) is None


def test_any_number_of_ends_has_a_wait() -> None:
    """Twice as long each time is soon more than a float holds."""
    history = RestartHistory(RestartPolicy(limit=3000, period=1e9, backoff=(0.0, 5.0)))
    waits = [history.ended("a", float(second), 0.5) for second in range(3000)]
    assert waits[-1] == 5.0


@given(
    st.integers(0, 8),
    st.floats(0.1, 100),
    st.lists(st.tuples(st.floats(0, 30), st.sampled_from("abc")), max_size=40),
    st.tuples(st.floats(0, 2), st.floats(2, 10)),
    st.floats(0, 1),
)
def test_it_gives_up_exactly_when_there_were_more_ends_than_the_limit(
    limit: int, period: float, ends: list[tuple[float, str]], backoff: tuple[float, float], chance: float
) -> None:
    history = RestartHistory(RestartPolicy(limit=limit, period=period, backoff=backoff))
    now = 0.0
    times: list[float] = []
    for pause, slot in ends:
        now += pause
        times.append(now)
        wait = history.ended(slot, now, chance)
        recent = sum(1 for time in times if now - time <= period)
        assert (wait is None) == (recent > limit)
        assert wait is None or backoff[0] <= wait <= backoff[1]


def test_of_a_policys_numbers_the_bounds_are_allowed() -> None:
    for policy in (RestartPolicy(limit=0, period=0.001, backoff=(0, 0)), RestartPolicy(backoff=(3, 3))):
        assert RestartHistory(policy).policy is policy
