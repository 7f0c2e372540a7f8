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


def test_one_that_has_room_again_is_the_last_in_turn_and_owed_nothing() -> None:
    policy = robin(*"abc")
    assert policy.pick(CLIENT) == "a"
    policy.remove("b")
    assert "".join(picks(policy, 3)) == "cac"
    policy.add("b")
    assert "".join(picks(policy, 6)) == "acbacb"


def test_those_that_have_room_again_take_turns_in_the_order_in_which_they_have() -> None:
    policy = robin(*"abcd")
    for worker in "abc":
        policy.remove(worker)
    for worker in "cab":
        policy.add(worker)
    assert "".join(picks(policy, 8)) == "dcabdcab"


@given(st.integers(2, 6), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=12))
def test_whoever_was_full_the_next_ones_are_k_for_each(count: int, steps: list[tuple[int, int]]) -> None:
    policy: RoundRobin[int] = RoundRobin()
    here = set(range(count))
    for worker in here:
        policy.add(worker)
    for worker, connections in steps:
        if worker in here and len(here) > 1:
            here.remove(worker)
            policy.remove(worker)
        elif worker < count and worker not in here:
            here.add(worker)
            policy.add(worker)
        for _ in range(connections):
            assert policy.pick(CLIENT) in here
    for worker in set(range(count)) - here:
        policy.add(worker)
    got = collections.Counter(policy.pick(CLIENT) for _ in range(10 * count))
    assert set(got.values()) == {10}
