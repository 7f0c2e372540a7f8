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
from collections.abc import Iterable, Iterator

from .family import Exemplar, Family, Labels, Sample, Series

_CREATED = "_created"


class Sum:
    """A family of a type in `family.SUMMED`, summed over workers.

    Its values are in few objects that Python's garbage collector has to look at, for it stops all threads meanwhile.

    Args:
        family: One of these; its samples are not added.
    """

    def __init__(self, family: Family) -> None:
        self._family = family
        self._groups: dict[Labels, tuple[Series, ...]] = {}  # by labels: one counter, one histogram or one summary
        self._buckets: dict[Labels, dict[float, Series]] = {}  # of histograms, by bound, sorted
        self._parts: dict[Series, tuple[float, ...]] = {}  # what each value is the sum of
        self._exemplars: dict[Series, Exemplar] = {}

    def copy(self) -> Sum:
        """Returns one to which more can be added."""
        copied = Sum(self._family)
        copied._groups = dict(self._groups)
        copied._buckets = dict(self._buckets)
        copied._parts = dict(self._parts)
        copied._exemplars = dict(self._exemplars)
        return copied

    def add(self, family: Family) -> None:
        """Adds what a worker has counted. Samples that can't be summed are left out."""
        self._family = family
        came: dict[Labels, dict[float, Sample]] = {}  # buckets
        for sample in family.samples:
            if not math.isfinite(sample.value):
                continue  # it would stay for ever
            if family.type == "histogram" and sample.name.endswith("_bucket"):
                if (found := _bound(sample.labels)) is not None:
                    labels, bound = found
                    came.setdefault(labels, {})[bound] = sample
            elif not is_quantile(family, sample):
                self._add_value(sample)
        for labels, buckets in came.items():
            self._add_buckets(labels, dict(sorted(buckets.items())))

    def _add_value(self, sample: Sample) -> None:
        series = sample.name, sample.labels
        before = self._parts.get(series)
        if before is None:
            self._groups[sample.labels] = (*self._groups.get(sample.labels, ()), series)
            self._parts[series] = (sample.value,)
        elif sample.name.endswith(_CREATED):
            self._parts[series] = (min(before[0], sample.value),)
        else:
            self._parts[series] = (*before, sample.value)
        self._show(series, sample)

    def _add_buckets(self, labels: Labels, came: dict[float, Sample]) -> None:
        own = self._buckets.get(labels)
        if own is None:
            own = self._buckets[labels] = {bound: (one.name, one.labels) for bound, one in came.items()}
            self._groups.setdefault(labels, ())
        elif own.keys() != came.keys():
            own = self._buckets[labels] = self._with_bounds_of(own, came)
        bounds = list(came)
        for bound, series in own.items():
            if (sample := came.get(bound)) is not None:
                self._show(series, sample)
            elif below := bisect_right(bounds, bound):
                sample = came[bounds[below - 1]]
            if sample is not None:
                self._parts[series] = (*self._parts.get(series, ()), sample.value)

    def _with_bounds_of(self, own: dict[float, Series], came: dict[float, Sample]) -> dict[float, Series]:
        bounds = list(own)
        more: dict[float, Series] = {}
        for bound, sample in came.items():
            if bound not in own:
                series = more[bound] = sample.name, sample.labels
                below = bisect_right(bounds, bound)
                self._parts[series] = self._parts.get(own[bounds[below - 1]], ()) if below else ()
        return dict(sorted({**own, **more}.items()))

    def _show(self, series: Series, sample: Sample) -> None:
        if sample.exemplar is not None:
            before = self._exemplars.get(series)
            if before is None or (sample.exemplar.timestamp or 0.0) >= (before.timestamp or 0.0):
                self._exemplars[series] = sample.exemplar

    def keep(self, family: Family) -> None:
        """Adds what a worker has counted that has ended: nothing of it will change, so few parts are kept, exactly."""
        self.add(family)
        self._parts = {series: parts if len(parts) < 2 else _exact(parts) for series, parts in self._parts.items()}

    def family(self) -> Family:
        """The sum, as it is when its samples are gone through; its documentation is that of the last one added."""
        return self._family._replace(samples=self)

    def __iter__(self) -> Iterator[Sample]:
        for labels, values in self._groups.items():
            yield from map(self._sample, self._buckets.get(labels, {}).values())
            yield from map(self._sample, sorted(values, key=_is_created))  # that one comes last

    def _sample(self, series: Series) -> Sample:
        return Sample(*series, _rounded(self._parts[series]), None, self._exemplars.get(series))


def _is_created(series: Series) -> bool:
    return series[0].endswith(_CREATED)


def is_quantile(family: Family, sample: Sample) -> bool:
    """Whether it is a summary's quantile, which can't be summed."""
    return family.type == "summary" and any(name == "quantile" for name, _ in sample.labels)


def _bound(labels: Labels) -> tuple[Labels, float] | None:
    """The labels of a bucket's histogram, and the bucket's bound; None: it is no bucket."""
    for index, (name, value) in enumerate(labels):
        if name == "le":
            try:
                bound = float(value)
            except ValueError:
                return None
            return None if math.isnan(bound) else (labels[:index] + labels[index + 1 :], bound)
    return None


def _rounded(parts: Iterable[float]) -> float:
    try:
        return math.fsum(parts)
    except (OverflowError, ValueError):  # ValueError: parts that are infinite, since `_exact` could not hold them
        return math.inf


def _exact(parts: Iterable[float]) -> tuple[float, ...]:
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
    return tuple(partials)
