"""Workers as policies see them."""

from __future__ import annotations

import collections
from dataclasses import dataclass

from aiocluster.scheduling import Policy

CLIENT = ("192.0.2.1", 50000)


@dataclass(eq=False)
class Worker:
    slot: int
    weight: int = 1
    connections: int = 0
    delay: float = 0.0
    busy: float | None = None

    def __repr__(self) -> str:
        return f"w{self.slot}"


def fill(policy: Policy[Worker], *weights: int) -> list[Worker]:
    workers = [Worker(slot, weight) for slot, weight in enumerate(weights)]
    for worker in workers:
        policy.add(worker)
    return workers


def shares(policy: Policy[Worker], count: int) -> dict[int, int]:
    """How many of that many connections each slot gets."""
    return dict(sorted(collections.Counter(policy.pick(CLIENT).slot for _ in range(count)).items()))
