"""Any worker."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from aiocluster.scheduling import Random

from .candidates import CLIENT, Worker, fill, shares


def test_random_is_about_even_and_repeatable() -> None:
    policies: list[Random[Worker]] = [Random(random.Random(4).random) for _ in range(2)]
    first, second = (shares(policy, 4000) for policy in policies if fill(policy, 1, 1, 1, 1))
    assert first == second
    assert all(900 < share < 1100 for share in first.values())


def test_each_chance_is_a_worker() -> None:
    chances = iter([0.0, 0.24, 0.25, 0.5, 0.75, 0.999])
    policy: Random[Worker] = Random(lambda: next(chances))
    fill(policy, 1, 1, 1, 1)
    assert [policy.pick(CLIENT).slot for _ in range(6)] == [0, 0, 1, 2, 3, 3]


@given(st.lists(st.integers(0, 5), max_size=20))
def test_whoever_is_here_can_be_picked_and_nobody_else(steps: list[int]) -> None:
    here = [Worker(slot) for slot in range(6)]
    chance = [0.0]
    policy: Random[Worker] = Random(lambda: chance[0])
    away: list[Worker] = []
    for worker in here:
        policy.add(worker)
    for step in steps:
        if step < len(here) and len(here) > 1:
            away.append(here.pop(step))
            policy.remove(away[-1])
        elif away:
            here.append(away.pop(0))
            policy.add(here[-1])
        found = set()
        for number in range(len(here)):
            chance[0] = (number + 0.5) / len(here)
            found.add(policy.pick(CLIENT))
        assert found == set(here)
