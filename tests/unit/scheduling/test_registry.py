"""The names of policies, and users' own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from aiocluster.scheduling import Candidate, Policy, Random, RoundRobin
from aiocluster.scheduling._registry import BY_KERNEL, POLICIES, check, maker

from .candidates import Worker, fill, shares


@pytest.mark.parametrize("name", [*POLICIES, *BY_KERNEL])
def test_the_known_policies_are_known(name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ["fifo", "", None, 7, "ROUND_ROBIN", [], int, object()])
def test_any_other_is_a_value_error_that_lists_them(name: object) -> None:
    with pytest.raises(ValueError, match=r"^scheduling must be one of round_robin, .*shared, reuse_port, .*, not "):
        check(name)


class Last(Policy[Candidate]):
    """One's own, by the public names."""

    def __init__(self) -> None:
        self.workers: list[Candidate] = []

    def add(self, worker: Candidate) -> None:
        self.workers.append(worker)

    def remove(self, worker: Candidate) -> None:
        self.workers.remove(worker)

    def pick(self, client: Any) -> Candidate:
        return self.workers[-1]


class NoSubclass:
    add = remove = pick = lambda self, _: None


@pytest.mark.parametrize("own", [Last, Last(), NoSubclass, NoSubclass(), lambda: Last(), RoundRobin])
def test_ones_own_policy_will_do(own: Any) -> None:
    check(own)
    make = maker(own)
    first, second = make(), make()
    assert first is not second
    assert isinstance(first, (Last, NoSubclass, RoundRobin))


def test_an_object_serves_the_first_port_itself_and_others_as_it_was() -> None:
    own = Last()
    make = maker(own)
    first = make()
    assert first is own
    first.add(Worker(0))
    first.changed(Worker(0))  # nothing, unless a subclass says otherwise
    second = make()
    assert isinstance(second, Last)
    assert not second.workers


def test_an_object_that_cant_be_copied_serves_one_port() -> None:
    own = Last()
    own.workers = (Worker(n) for n in range(0))  # type: ignore[assignment]
    make = maker(own)
    assert make() is own
    with pytest.raises(ValueError, match=r"serves one port, .*; give a callable that makes one for each$"):
        make()


def test_a_callable_that_makes_no_policy_is_found_out() -> None:
    def nothing() -> Iterable[int]:
        return []

    with pytest.raises(ValueError, match=r"lacks add, remove or pick$"):
        maker(nothing)()


def test_each_further_port_has_a_copy_of_its_own() -> None:
    own = Last()
    make = maker(own)
    assert make() is own
    second, third = make(), make()
    assert isinstance(second, Last)
    assert isinstance(third, Last)
    second.add(Worker(0))
    assert not third.workers


def test_the_class_random_is_the_policy_of_that_name() -> None:
    policy = maker(Random)()
    (worker,) = fill(policy, 1)
    assert policy.pick(None) is worker


def test_random_by_name_has_chances_of_its_own() -> None:
    policy = POLICIES["random"]()
    fill(policy, *[1] * 4)
    assert set(shares(policy, 400)) == {0, 1, 2, 3}
