"""Any worker."""

from __future__ import annotations

import random

from aiocluster.scheduling import Random

from .candidates import Worker, fill, shares


def test_random_is_about_even_and_repeatable() -> None:
    policies: list[Random[Worker]] = [Random(random.Random(4).random) for _ in range(2)]
    first, second = (shares(policy, 4000) for policy in policies if fill(policy, 1, 1, 1, 1))
    assert first == second
    assert all(900 < share < 1100 for share in first.values())
