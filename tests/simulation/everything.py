"""All policies, all traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from statistics import median
from typing import Any

from .contenders import CONTENDERS
from .queueing import Outcome, Run
from .table import Results
from .traffic import SCENARIOS

SIZES = (4, 16, 64, 256)


def seeds(size: int) -> range:
    """Which traffic is run with that many workers. Results are medians; one run with many is steady enough."""
    return range(1, 4) if size < 256 else range(1, 2)


def simulate(sizes: Sequence[int], each: Callable[..., Iterable[Any]] = map) -> Results:
    """Every policy in every scenario, with each of these numbers of workers.

    Args:
        sizes: How many workers.
        each: Like ``map``; another one may run several at a time.
    """
    # The longest first, so that none is left alone at the end.
    runs = [
        (scenario, size, seed)
        for size, scenario in product(sorted(sizes, reverse=True), SCENARIOS)
        for seed in seeds(size)
    ]
    outcomes: dict[tuple[str, str, int], list[Outcome]] = {}
    for (scenario, size, _), run in zip(runs, each(compare, *zip(*runs, strict=True)), strict=True):
        for name, outcome in run.items():
            outcomes.setdefault((scenario, name, size), []).append(outcome)
    return {
        scenario: {
            contender.name: {size: _middle(outcomes[scenario, contender.name, size]) for size in sizes}
            for contender in CONTENDERS
        }
        for scenario in SCENARIOS
    }


def compare(scenario: str, size: int, seed: int) -> dict[str, Outcome]:
    """Every policy against the same traffic."""
    traffic = SCENARIOS[scenario](size, seed)
    return {
        contender.name: Run(contender.make(), traffic, is_weighted=contender.is_weighted).outcome
        for contender in CONTENDERS
    }


def _middle(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        imbalance=median(outcome.imbalance for outcome in outcomes), p99=median(outcome.p99 for outcome in outcomes)
    )
