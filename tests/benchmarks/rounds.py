"""Takes the samples: every contender in turn, round after round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from .measurement import BEFORE, Calls, Comparison, Measurement, OwnContender, Sample
from .programs import ProgramFailed


class Watcher(Protocol):
    """Hears of each sample as it comes in, for a sign of life on a long run."""

    def __call__(self, measurement: Measurement, round_: int, name: str, sample: Sample) -> None: ...


@dataclass(frozen=True)
class Spread:
    """The median of several rounds, and how far they lay apart."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Ratio:
    """A comparison and what came of it, one ratio a round."""

    comparison: Comparison
    per_round: list[float]

    @property
    def spread(self) -> Spread:
        return Spread.of(self.per_round)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None where there is none."""
        goal = self.comparison.goal
        return None if goal is None else goal.met(self.spread.median)

    @property
    def rounds_met(self) -> int:
        """In how many rounds the goal was met."""
        goal = self.comparison.goal
        return 0 if goal is None else sum(map(goal.met, self.per_round))


@dataclass(frozen=True)
class Result:
    """All samples of one measurement."""

    measurement: Measurement
    samples: dict[str, list[Sample]]
    """By contender, one a round; only those who took part in every round."""
    skipped: dict[str, str]
    """Contender and why: a program it needs is missing."""
    failed: dict[str, str]
    """Contender and why: it broke."""
    calls: dict[str, Mapping[str, Calls]] = field(default_factory=dict)
    """By contender and process, for one operation; of those whose calls are counted."""

    def spread(self, contender: str, figure: str | None = None) -> Spread:
        """Of one of its further figures; None: of its value."""
        return Spread.of([sample.figure(figure) for sample in self.samples[contender]])

    def beside_baseline(self, contender: str, figure: str | None = None) -> Ratio | None:
        """None where there is no baseline, and for the baseline itself. With the goal that stands for it, if any."""
        baseline = self.measurement.baseline
        if baseline not in self.samples or contender == baseline or contender not in self.samples:
            return None
        goals = (
            comparison
            for comparison in self.measurement.comparisons
            if (comparison.subject, comparison.against, comparison.figure) == (contender, baseline, figure)
        )
        comparison = next(goals, Comparison(contender, baseline, figure=figure))
        return Ratio(comparison, self._per_round(comparison))

    def processes(self, contender: str) -> Iterator[str]:
        """Whose processor time or calls are known."""
        first = self.samples[contender][0]
        yield from first.cpu
        yield from (process for process in self.calls.get(contender, {}) if process not in first.cpu)

    def cpu(self, contender: str, process: str) -> Spread | None:
        """Seconds of processor time for one operation; None: unknown."""
        used = [sample.cpu[process] for sample in self.samples[contender] if process in sample.cpu]
        return Spread.of(used) if used else None

    def cpu_beside_before(self, contender: str, process: str) -> Spread | None:
        """The same as a ratio to that of the other checkout; None: there is none."""
        before = self.samples.get(f"{contender}, {BEFORE}", [])
        pairs = zip(self.samples[contender], before, strict=False)
        ratios = [new.cpu[process] / old.cpu[process] for new, old in pairs if old.cpu.get(process)]
        return Spread.of(ratios) if ratios else None

    def errors(self, contender: str) -> Counter[str]:
        """Errors of all rounds together."""
        total: Counter[str] = Counter()
        for sample in self.samples[contender]:
            total.update(sample.errors)
        return total

    @property
    def ratios(self) -> list[Ratio]:
        """The comparisons both of whose sides took part."""
        return [
            Ratio(comparison, self._per_round(comparison))
            for comparison in self.measurement.comparisons
            if comparison.subject in self.samples and comparison.against in self.samples
        ]

    def _per_round(self, comparison: Comparison) -> list[float]:
        pairs = zip(self.samples[comparison.subject], self.samples[comparison.against], strict=True)
        return [subject.figure(comparison.figure) / against.figure(comparison.figure) for subject, against in pairs]


def run(
    measurement: Measurement,
    rounds: int,
    *,
    missing: Callable[[str], str | None],
    watch: Watcher,
) -> Result:
    """Let the contenders alternate for a number of rounds.

    Args:
        missing: Says why a needed program can't be used, None when it can.

    A contender that breaks is out: a median over fewer rounds than its rivals' is no comparison.
    """
    skipped = _skipped(measurement, missing)
    failed: dict[str, str] = {}
    samples: dict[str, list[Sample]] = {
        contender.name: [] for contender in measurement.contenders if contender.name not in skipped
    }
    for round_ in range(1, rounds + 1):
        for contender in measurement.contenders:
            if contender.name not in samples:
                continue
            try:
                sample = contender.take(round_)
            except ProgramFailed as error:
                failed[contender.name] = str(error)
                del samples[contender.name]
            else:
                samples[contender.name].append(sample)
                watch(measurement, round_, contender.name, sample)
    calls: dict[str, Mapping[str, Calls]] = {}
    for contender in measurement.contenders:
        if isinstance(contender, OwnContender) and contender.name in samples:
            try:
                calls[contender.name] = contender.count()
            except ProgramFailed as error:
                failed[f"{contender.name}, counting calls"] = str(error)
    return Result(measurement, samples, skipped, failed, calls)


def _skipped(measurement: Measurement, missing: Callable[[str], str | None]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for contender in measurement.contenders:
        lacking = [reason for need in contender.needs if (reason := missing(need)) is not None]
        if lacking:
            reasons[contender.name] = "; ".join(lacking)
    return reasons
