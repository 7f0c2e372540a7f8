"""Turns that a worker missed."""

from __future__ import annotations

import collections

import pytest

from aiocluster.scheduling._registry import POLICIES
from aiocluster.scheduling._turns import MOST_OWED

from .candidates import fill, shares
from .test_round_robin import picks, robin


@pytest.mark.parametrize("name", ["round_robin", "weighted_round_robin"])
def test_one_that_was_away_for_long_is_owed_nothing(name: str) -> None:
    policy = POLICIES[name]()
    workers = fill(policy, 1, 1)
    policy.remove(workers[0])
    assert shares(policy, MOST_OWED + 2) == {1: MOST_OWED + 2}
    policy.add(workers[0])
    assert shares(policy, 10) == {0: 5, 1: 5}


@pytest.mark.parametrize("name", ["round_robin", "weighted_round_robin", "ip_hash"])
def test_one_that_was_forgotten_is_owed_nothing(name: str) -> None:
    policy = POLICIES[name]()
    workers = fill(policy, 1, 1)
    policy.remove(workers[0])
    policy.pick("")
    policy.forget(workers[0])
    assert {policy.pick("") for _ in range(6)} == {workers[1]}
    policy.add(workers[0])
    assert sum(policy.pick("") is workers[0] for _ in range(10)) == 5


@pytest.mark.parametrize("missed", [0, 1, MOST_OWED + 3])
def test_one_that_was_forgotten_can_come_back_at_any_time(missed: int) -> None:
    policy = robin(*"ab")
    policy.remove("a")
    picks(policy, missed)
    policy.forget("a")
    policy.add("a")
    assert sorted(collections.Counter(picks(policy, 10)).values()) == [5, 5]
    assert not policy._away


def test_64_missed_turns_come_back_and_not_one_more() -> None:
    policy = robin(*"ab")
    policy.remove("a")
    picks(policy, MOST_OWED)
    policy.add("a")
    assert picks(policy, MOST_OWED + 3) == [*"a" * MOST_OWED, *"aba"]
    policy.remove("a")
    picks(policy, MOST_OWED + 2)
    policy.add("a")
    assert sorted(picks(policy, 4)) == [*"aabb"]


def test_one_that_goes_again_before_it_got_its_turns_back_is_still_owed_them() -> None:
    policy = robin(*"abc")
    policy.remove("a")
    assert picks(policy, 4) == [*"bcbc"]  # a has missed two
    policy.add("a")
    policy.remove("a")
    assert picks(policy, 2) == [*"bc"]  # and one more
    policy.add("a")
    assert picks(policy, 6) == [*"aaaabc"]


@pytest.mark.parametrize("name", ["round_robin", "weighted_round_robin"])
def test_after_a_pause_nobody_is_owed_anything(name: str) -> None:
    policy = POLICIES[name]()
    away, here = fill(policy, 1, 1)
    policy.remove(away)
    assert shares(policy, 10) == {here.slot: 10}
    policy.settle()
    policy.add(away)
    assert shares(policy, 10) == {0: 5, 1: 5}
    policy.remove(away)
    assert shares(policy, 10) == {here.slot: 10}
    policy.add(away)
    policy.settle()
    assert shares(policy, 10) == {0: 5, 1: 5}
