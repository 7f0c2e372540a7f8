"""Counters, histograms and summaries of several workers, added up. Pure.

What is added stays: a sum never goes down while what is added to it does not, whoever comes and goes. Rounding must not
change that, or Prometheus would take the last bit for a restart from 0. So the parts of a sum are kept without error,
and rounded once (`math.fsum`), which does not depend on their order.

Histograms with other bounds (the application has changed them, and a reload is under way) get all bounds of both. A
bound that a worker does not have counts what that worker has at its next lower one: that is what is known to be below.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from .family import Exemplar, Family, Labels, Sample

_BOUND = "le"


class _Bucket(NamedTuple):
    """``text`` is how the bound is written."""

    text: str
    below: float
    exemplar: Exemplar | None


class _Value(NamedTuple):
    """``parts`` are what it is the sum of."""

    parts: list[float]
    exemplar: Exemplar | None


class _Group:
    """The samples of a family that have the same labels: one counter, one histogram or one summary."""

    __slots__ = ("bounds", "buckets", "values")

    def __init__(self) -> None:
        self.values: dict[str, _Value] = {}
        self.buckets: dict[float, _Bucket] = {}
        self.bounds: list[float] = []  # of the buckets, sorted

    def add_value(self, name: str, parts: list[float], exemplar: Exemplar | None) -> None:
        before = self.values.get(name)
        if before is None:
            self.values[name] = _Value(parts, exemplar)
        elif name.endswith("_created"):
            self.values[name] = _Value([min(before.parts[0], parts[0])], None)
        else:
            self.values[name] = _Value([*before.parts, *parts], _later(before.exemplar, exemplar))

    def compact(self) -> None:
        """Keeps few parts of each sum, without error."""
        for name, (parts, exemplar) in self.values.items():
            if len(parts) > 1:
                self.values[name] = _Value(_exact(parts), exemplar)

    def add(self, other: _Group) -> None:
        """Adds another one's numbers."""
        for name, (parts, exemplar) in other.values.items():
            self.add_value(name, parts, exemplar)
        if not other.buckets:
            return
        if not self.buckets:
            self.buckets, self.bounds = dict(other.buckets), other.bounds
        elif self.bounds == other.bounds:
            for bound, (text, count, exemplar) in other.buckets.items():
                own = self.buckets[bound]
                self.buckets[bound] = _Bucket(text, own.below + count, _later(own.exemplar, exemplar))
        else:
            bounds = sorted({*self.bounds, *other.bounds})
            self.buckets = {bound: _sum(self._at(bound), other._at(bound)) for bound in bounds}
            self.bounds = bounds

    def _at(self, bound: float) -> _Bucket:
        if (own := self.buckets.get(bound)) is not None:
            return own
        below = bisect_right(self.bounds, bound) - 1
        return _Bucket("", self.buckets[self.bounds[below]].below if below >= 0 else 0.0, None)

    def samples(self, name: str, labels: Labels) -> Iterator[Sample]:
        for bound in self.bounds:
            text, count, exemplar = self.buckets[bound]
            with_bound = tuple(sorted((*labels, (_BOUND, text))))
            yield Sample(f"{name}_bucket", with_bound, count, None, exemplar)
        for value_name in sorted(self.values, key=lambda name: name.endswith("_created")):  # that one comes last
            parts, exemplar = self.values[value_name]
            yield Sample(value_name, labels, _rounded(parts), None, exemplar)


class Sum:
    """A family of a type in `family.SUMMED`, summed over workers.

    Args:
        family: One of these; its samples are not added.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._groups: dict[Labels, _Group] = {}

    def copy(self) -> Sum:
        """Returns one to which more can be added."""
        copied = Sum(self._family)
        for labels, group in self._groups.items():
            copied._groups[labels] = copy = _Group()
            copy.add(group)
        return copied

    def add(self, family: Family) -> None:
        """Adds what a worker has counted. Samples that can't be summed are left out."""
        self._family = family
        came: dict[Labels, _Group] = {}
        for sample in family.samples:
            if not math.isfinite(sample.value):
                continue  # it would stay for ever
            if family.type == "histogram" and sample.name.endswith("_bucket"):
                _add_bucket(came, sample)
            elif not is_quantile(family, sample):
                group = came.setdefault(sample.labels, _Group())
                group.add_value(sample.name, [sample.value], sample.exemplar)
        for labels, group in came.items():
            group.bounds = sorted(group.buckets)
            self._groups.setdefault(labels, _Group()).add(group)

    def keep(self, family: Family) -> None:
        """Adds what a worker has counted that has ended: nothing of it will change."""
        self.add(family)
        for group in self._groups.values():
            group.compact()

    def family(self) -> Family:
        """The sum; its documentation is that of the last one added."""
        name = self._family.name
        samples = [sample for labels, group in self._groups.items() for sample in group.samples(name, labels)]
        return self._family._replace(samples=samples)


def is_quantile(family: Family, sample: Sample) -> bool:
    """Whether it is a summary's quantile, which can't be summed."""
    return family.type == "summary" and any(name == "quantile" for name, _ in sample.labels)


def _add_bucket(groups: dict[Labels, _Group], sample: Sample) -> None:
    text = next((value for name, value in sample.labels if name == _BOUND), None)
    try:
        bound = math.nan if text is None else float(text)
    except ValueError:
        bound = math.nan
    if text is None or math.isnan(bound):
        return  # it is no bucket
    labels = tuple(pair for pair in sample.labels if pair[0] != _BOUND)
    groups.setdefault(labels, _Group()).buckets[bound] = _Bucket(text, sample.value, sample.exemplar)


def _sum(one: _Bucket, other: _Bucket) -> _Bucket:
    return _Bucket(one.text or other.text, one.below + other.below, _later(one.exemplar, other.exemplar))


def _later(one: Exemplar | None, other: Exemplar | None) -> Exemplar | None:
    if one is None or other is None:
        return one or other
    return other if (other.timestamp or 0.0) >= (one.timestamp or 0.0) else one


def _rounded(parts: list[float]) -> float:
    try:
        return math.fsum(parts)
    except (OverflowError, ValueError):  # ValueError: parts that are infinite, since `_exact` could not hold them
        return math.inf


def _exact(parts: list[float]) -> list[float]:
    """Few numbers with exactly the same sum, by Shewchuk's algorithm, which `math.fsum` has, too."""
    partials: list[float] = []
    for part in parts:
        kept = []
        for partial in partials:
            larger, smaller = (part, partial) if abs(part) >= abs(partial) else (partial, part)
            part = larger + smaller
            if error := smaller - (part - larger):
                kept.append(error)
        partials = [*kept, part]
    return partials
