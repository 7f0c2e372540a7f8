"""Each worker in turn, in proportion to its weight."""

from __future__ import annotations

import collections

from hypothesis import given
from hypothesis import strategies as st

from aiocluster.scheduling import WeightedRoundRobin
from aiocluster.scheduling.weighted_round_robin import smooth

from .candidates import CLIENT, Worker, fill, shares


def naive(weights: list[int], count: int) -> list[int]:
    """nginx's own loop: everybody's credit at every step."""
    credits = [0] * len(weights)
    order = []
    for _ in range(count):
        credits = [credit + weight for credit, weight in zip(credits, weights, strict=True)]
        best = credits.index(max(credits))
        credits[best] -= sum(weights)
        order.append(best)
    return order


def test_the_example_of_nginx() -> None:
    policy: WeightedRoundRobin[Worker] = WeightedRoundRobin()
    fill(policy, 5, 1, 1)
    assert [policy.pick(CLIENT).slot for _ in range(14)] == [0, 0, 1, 0, 2, 0, 0] * 2


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_the_order_is_that_of_nginx(weights: list[int]) -> None:
    order = list(smooth(weights))
    assert order == naive(weights, len(order))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(1, 3), st.integers(1, 4))
def test_shares_are_exact_over_each_period(weights: list[int], periods: int, factor: int) -> None:
    policy: WeightedRoundRobin[Worker] = WeightedRoundRobin()
    fill(policy, *(weight * factor for weight in weights))
    for _ in range(periods):
        total = sum(weights) * factor
        assert shares(policy, total) == {slot: weight * factor for slot, weight in enumerate(weights)}


def test_full_windows_change_nothing_about_weighted_shares() -> None:
    policy: WeightedRoundRobin[Worker] = WeightedRoundRobin()
    workers = fill(policy, 3, 2, 1)
    got = collections.Counter(shares(policy, 1))
    for worker in workers:
        policy.remove(worker)
        got.update(shares(policy, 7))
        policy.add(worker)
    got.update(shares(policy, 600 - got.total()))
    assert got == {0: 300, 1: 200, 2: 100}
