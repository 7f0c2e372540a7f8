"""The policies that take part, and the ways to hand connections over."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiocluster.scheduling import LeastConnections, Policy, Random, RoundRobin
from aiocluster.scheduling._registry import POLICIES, REUSE_PORT, SHARED

from .handover import BREATHING, TAKEN_64, Fixed, HandOver, Primary
from .kernel import OwnSockets, SharedSocket
from .queueing import Acceptor, Run


@dataclass(frozen=True, slots=True)
class Contender:
    """One that takes part.

    Attributes:
        make: Makes who accepts.
        is_weighted: Whether it is told which worker is slow; the others have to find out.
    """

    name: str
    make: Callable[[Run], Acceptor]
    is_weighted: bool = False


def by(policy: Callable[[], Policy[Any]], how: HandOver = BREATHING) -> Callable[[Run], Acceptor]:
    """The primary accepts, with this policy."""
    return lambda run: Primary(policy(), how, run)


def _random() -> Policy[Any]:
    return Random(random.Random(1).random)


_BY_NAME = {**{name: by(policy) for name, policy in POLICIES.items()}, "random": by(_random)}

POLICIES_AND_KERNEL = (
    *(Contender(name, make, is_weighted=name == "weighted_round_robin") for name, make in _BY_NAME.items()),
    Contender(SHARED, SharedSocket),
    Contender(REUSE_PORT, OwnSockets),
)
"""All policies."""

WINDOWS = (
    Contender("in turn, 64 until taken", by(RoundRobin, TAKEN_64)),  # as it was
    Contender("in turn, 16", by(RoundRobin, HandOver(lambda: Fixed(16)))),
    Contender("in turn, 1", by(RoundRobin, HandOver(lambda: Fixed(1)))),
    Contender("in turn, breathing", by(RoundRobin)),
    Contender("fewest, 64 until taken", by(LeastConnections, TAKEN_64)),
    Contender("fewest, breathing", by(LeastConnections)),
    Contender("fewest, breathing, no pull", by(LeastConnections, HandOver(pulls=False))),
    Contender("shared socket", SharedSocket),
)
"""Ways to hand connections over: what the window is, and which worker comes first."""
