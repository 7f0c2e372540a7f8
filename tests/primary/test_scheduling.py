"""Which worker gets this connection."""

from __future__ import annotations

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster.primary.scheduling import POLICIES, SHARED, Policy, RoundRobin, check

CLIENT = ("192.0.2.1", 50000)


def robin(*workers: str) -> RoundRobin[str]:
    policy: RoundRobin[str] = RoundRobin()
    for worker in reversed(workers):
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


def test_one_that_comes_back_is_next() -> None:
    policy = robin(*"abc")
    assert policy.pick(CLIENT) == "a"
    policy.remove("b")
    assert "".join(picks(policy, 3)) == "cac"
    policy.add("b")
    assert "".join(picks(policy, 4)) == "bacb"


def test_one_that_was_removed_is_not_picked() -> None:
    policy = robin(*"abc")
    policy.remove("a")
    assert set(picks(policy, 10)) == {"b", "c"}


@given(
    st.lists(st.one_of(st.sampled_from("abcde").map(lambda name: ("toggle", name)), st.just(("pick", ""))), max_size=60)
)
def test_only_those_are_picked_that_may_be_and_none_is_forgotten(steps: list[tuple[str, str]]) -> None:
    """And as long as nobody comes or goes, each one has its turn before another has a second one."""
    policy: RoundRobin[str] = RoundRobin()
    present: set[str] = set()
    since: list[str] = []  # picks since anybody came or went
    for step, name in steps:
        if step == "toggle":
            since.clear()
            if name in present:
                present.remove(name)
                policy.remove(name)
            else:
                present.add(name)
                policy.add(name)
        elif present:
            picked = policy.pick(CLIENT)
            assert picked in present
            since.append(picked)
            assert len(set(since[-len(present) :])) == len(since[-len(present) :])


@pytest.mark.parametrize("name", [*POLICIES, SHARED])
def test_the_known_policies_are_known(name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ["fifo", "", None, 7, "ROUND_ROBIN", []])
def test_any_other_is_a_value_error_that_lists_them(name: object) -> None:
    with pytest.raises(ValueError, match=r"^scheduling must be one of round_robin, .*shared.*, not "):
        check(name)
