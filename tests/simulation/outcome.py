"""What came of it, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from statistics import median

Served = tuple[float, float, float]
"""When a request arrived, was begun, and ended, in seconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. All but the first and the last are seconds.

    Attributes:
        imbalance: The connections of the worker that got most, divided by the mean; 1.0 is even.
        waited: 99 % of the requests waited less before they were served.
        p50: Half of the requests took less, from their arrival to their end.
        p90: 90 % of them did.
        p99: 99 % of them did.
        lost: Of the workers' time, the share in which one had nothing to do although a request waited.
    """

    imbalance: float
    waited: float
    p50: float
    p90: float
    p99: float
    lost: float


def judge(served: Sequence[Served], accepted: Sequence[int]) -> Outcome:
    """What came of these requests, and of so many connections for each worker."""
    waits = sorted(begun - arrived for arrived, begun, _ in served)
    times = sorted(ended - arrived for arrived, _, ended in served)
    return Outcome(
        imbalance=max(accepted) * len(accepted) / sum(accepted),
        waited=_percentile(waits, 99),
        p50=_percentile(times, 50),
        p90=_percentile(times, 90),
        p99=_percentile(times, 99),
        lost=_lost(served, len(accepted)),
    )


def middle(outcomes: Sequence[Outcome]) -> Outcome:
    """The median of each number."""
    return Outcome(*map(median, zip(*map(astuple, outcomes), strict=True)))


def _percentile(values: Sequence[float], percent: int) -> float:
    """Of sorted values, the one that so many percent are below."""
    return values[len(values) * percent // 100]


def _lost(served: Sequence[Served], workers: int) -> float:
    changes = []
    for arrived, begun, ended in served:
        changes += [(arrived, 1, 0), (begun, -1, 1), (ended, 0, -1)]
    changes.sort()
    waiting = busy = 0
    idle = 0.0
    first = before = changes[0][0]
    for now, waits, works in changes:
        idle += min(waiting, workers - busy) * (now - before)
        waiting += waits
        busy += works
        before = now
    return idle / (workers * (before - first))
