"""Each worker in turn."""

from __future__ import annotations

import collections

from hypothesis import given
from hypothesis import strategies as st

from aiocluster.scheduling import Policy, RoundRobin

from .candidates import CLIENT


def robin(*workers: str) -> RoundRobin[str]:
    policy: RoundRobin[str] = RoundRobin()
    for worker in workers:
        policy.add(worker)
    return policy


def picks(policy: Policy[str], count: int) -> list[str]:
    return [policy.pick(CLIENT) for _ in range(count)]


def test_each_in_turn() -> None:
    assert "".join(picks(robin(*"abc"), 7)) == "abcabca"


def test_one_alone_gets_all() -> None:
    assert "".join(picks(robin("a"), 3)) == "aaa"


@given(st.integers(1, 20), st.integers(0, 10))
def test_k_times_n_connections_are_k_for_each_of_n(workers: int, rounds: int) -> None:
    policy: RoundRobin[int] = RoundRobin()
    for worker in range(workers):
        policy.add(worker)
    got = collections.Counter(policy.pick(CLIENT) for _ in range(workers * rounds))
    assert set(got.values()) <= {rounds}


def test_one_that_comes_back_gets_the_turns_it_missed() -> None:
    policy = robin(*"abc")
    assert policy.pick(CLIENT) == "a"
    policy.remove("b")
    assert "".join(picks(policy, 3)) == "cac"
    policy.add("b")
    assert "".join(picks(policy, 4)) == "bbab"  # two that it missed, and its next one


def test_those_that_come_back_together_get_their_turns_mixed() -> None:
    policy = robin(*"abc")
    policy.remove("a")
    policy.remove("b")
    assert "".join(picks(policy, 3)) == "ccc"
    policy.add("a")
    policy.add("b")
    assert "".join(picks(policy, 9)) == "ababababc"


@given(st.integers(2, 6), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=12))
def test_full_windows_change_nothing_about_k_for_each(count: int, steps: list[tuple[int, int]]) -> None:
    """As long as nobody misses more than `MOST_OWED` turns: 12 times 4 connections are at most 48."""
    policy: RoundRobin[int] = RoundRobin()
    got = dict.fromkeys(range(count), 0)
    here = set(range(count))
    for worker in got:
        policy.add(worker)
    for worker, connections in steps:
        if worker in here and len(here) > 1:
            here.remove(worker)
            policy.remove(worker)
        elif worker < count and worker not in here:
            here.add(worker)
            policy.add(worker)
        for _ in range(connections):
            got[policy.pick(CLIENT)] += 1
    for worker in set(got) - here:
        policy.add(worker)
    for _ in range(100 * count - sum(got.values())):
        got[policy.pick(CLIENT)] += 1
    assert set(got.values()) == {100}


def test_a_replacement_does_not_inherit_missed_turns() -> None:
    policy = robin(*"abcd")
    policy.remove("a")
    picks(policy, 30)
    policy.add("A")
    assert sorted(collections.Counter(picks(policy, 40)).values()) == [10, 10, 10, 10]
