"""All contenders, all traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from .contenders import POLICIES_AND_KERNEL, WINDOWS, Contender
from .ideal import single_queue
from .outcome import Outcome, middle
from .queueing import Run
from .table import Results
from .traffic import NEW_CONNECTIONS, SCENARIOS, Traffic

SIZES = (4, 16, 64)
FEW = (4, 16)
IDEAL = "ideal queue"

Map = Callable[..., Iterable[Any]]


def seeds(size: int) -> range:
    """Which traffic is run with that many workers. Results are medians; one run with many is steady enough."""
    return range(1, 4) if size < 64 else range(1, 2)


def compare_policies(sizes: Sequence[int], each: Map = map, seeds: Callable[[int], Iterable[int]] = seeds) -> Results:
    """Every policy in every scenario, with each of these numbers of workers.

    Args:
        sizes: How many workers.
        each: Like ``map``; another one may run several at a time.
        seeds: Which traffic, for each number of workers.
    """
    return _simulate(_policies, SCENARIOS, sizes, each, seeds)


def compare_windows(sizes: Sequence[int], each: Map = map, seeds: Callable[[int], Iterable[int]] = seeds) -> Results:
    """The same for every way to hand connections over, and for the ideal single queue."""
    return _simulate(_windows, NEW_CONNECTIONS, sizes, each, seeds)


def _simulate(
    compare: Callable[[str, int, int], Mapping[str, Outcome]],
    scenarios: Iterable[str],
    sizes: Sequence[int],
    each: Map,
    seeds: Callable[[int], Iterable[int]],
) -> Results:
    # The longest first, so that none is left alone at the end.
    runs = [
        (scenario, size, seed)
        for size, scenario in product(sorted(sizes, reverse=True), scenarios)
        for seed in seeds(size)
    ]
    found: dict[str, dict[str, dict[int, list[Outcome]]]] = {scenario: {} for scenario in scenarios}
    for (scenario, size, _), run in zip(runs, each(compare, *zip(*runs, strict=True)), strict=True):
        for name, outcome in run.items():
            found[scenario].setdefault(name, {}).setdefault(size, []).append(outcome)
    return {
        scenario: {
            name: {size: middle(outcomes) for size, outcomes in by_size.items()} for name, by_size in by_name.items()
        }
        for scenario, by_name in found.items()
    }


def _policies(scenario: str, size: int, seed: int) -> dict[str, Outcome]:
    return _run_all(POLICIES_AND_KERNEL, SCENARIOS[scenario](size, seed))


def _windows(scenario: str, size: int, seed: int) -> dict[str, Outcome]:
    traffic = NEW_CONNECTIONS[scenario](size, seed)
    return {IDEAL: single_queue(traffic), **_run_all(WINDOWS, traffic)}


def _run_all(contenders: Iterable[Contender], traffic: Traffic) -> dict[str, Outcome]:
    return {
        contender.name: Run(contender.make, traffic, is_weighted=contender.is_weighted).outcome
        for contender in contenders
    }
