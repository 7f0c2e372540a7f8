"""One page from the reports of many workers. Pure.

================================  ====================================================================================
what a family is                  what the page has of it
================================  ====================================================================================
counter, histogram, summary       the sum over all workers, those that have ended included
gauge ``min``, ``max``, ``sum``   that of all workers, those that have ended included
gauge ``mostrecent``              the value that was set last, also by one that has ended
gauge ``livemin``, …              the same without those that have ended
gauge ``all``                     one for each slot: its worker's, or that of its last one
gauge ``liveall``, or of an own   one for each slot that has a worker
collector
info                              each different one, of the workers that there are
Enum and all others               one for each slot that has a worker
================================  ====================================================================================

"For each slot" means the label ``slot``. An application's own label of that name becomes ``exported_slot``, as
Prometheus does it. While a reload has two workers in a slot, the newer one counts there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .family import SUMMED, Family, Labels, Sample, Series
from .sums import Sum, is_quantile

SLOT = "slot"


class Source(NamedTuple):
    """A worker that there is: its place (slot, or an agent's name), its number, which grows, and its families."""

    place: str
    id: int
    families: Mapping[str, Family]


class Conflict(NamedTuple):
    """Why something of a worker's is not on the page."""

    place: str
    text: str


_Fold = Callable[[Sample, Sample], Sample]

_FOLDS: Mapping[str, _Fold] = {
    "min": lambda one, other: other if other.value < one.value else one,
    "max": lambda one, other: other if other.value > one.value else one,
    "sum": lambda one, other: one._replace(value=one.value + other.value),
    "mostrecent": lambda one, other: other if other.since >= one.since else one,
}
"""How two workers' samples of the same series become one, by a gauge's mode, without its ``live``."""


class Past:
    """What workers have counted that have ended."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, str], Sum] = {}  # by name and type
        self.folded: dict[tuple[str, str], Family] = {}  # gauges, by name and mode
        self.by_place: dict[str, dict[str, Family]] = {}  # gauges of the mode `all`, by name and place

    def add(self, place: str, families: Iterable[Family]) -> None:
        """A worker has ended, and these are its last numbers."""
        for family in families:
            if family.type in SUMMED:
                kept = self.sums.setdefault((family.name, family.type), Sum(family))
                kept.keep(family)
            elif family.type == "gauge" and family.mode == "all":
                self.by_place.setdefault(family.name, {})[place] = family
            elif family.type == "gauge" and family.mode is not None and family.mode in _FOLDS:
                key = family.name, family.mode
                before = [self.folded[key]] if key in self.folded else []
                self.folded[key] = family._replace(samples=_folded([*before, family], _FOLDS[family.mode]))

    def kinds(self) -> Iterator[tuple[str, str]]:
        """The names and types of all that is kept."""
        yield from self.sums
        for name, _ in self.folded:
            yield name, "gauge"
        for name in self.by_place:
            yield name, "gauge"

    def last(self, name: str, kind: str) -> Family:
        """The last family that was kept of this name and type."""
        if kind in SUMMED:
            return self.sums[name, kind].family()
        folded = [family for (folded, _), family in self.folded.items() if folded == name]
        return [*folded, *self.by_place.get(name, {}).values()][-1]


def merge(past: Past, sources: Sequence[Source], conflicts: list[Conflict]) -> Iterator[Family]:
    """Yields the families of the page, by name.

    Args:
        past: What workers have counted that have ended.
        sources: The workers that there are.
        conflicts: Gets what could not be merged.
    """
    sources = sorted(sources, key=lambda source: source.id)
    past_kinds: dict[str, str] = dict(past.kinds())
    for name in sorted({*past_kinds, *(name for source in sources for name in source.families)}):
        having = [source for source in sources if name in source.families]
        kind = _kind(name, having) if having else past_kinds[name]
        for source in having:
            if (other := source.families[name].type) != kind:
                text = f"{name} is of the type {other} there, and {kind} in other workers: rename one of them"
                conflicts.append(Conflict(source.place, text))
        yield _merged(past, name, kind, [source for source in having if source.families[name].type == kind])


def _kind(name: str, having: Sequence[Source]) -> str:
    """The type that most workers have; of two, the newest worker's."""
    kinds = [source.families[name].type for source in having]
    return max(reversed(kinds), key=kinds.count)


def _merged(past: Past, name: str, kind: str, sources: Sequence[Source]) -> Family:
    families = [source.families[name] for source in sources]
    newest = families[-1] if families else past.last(name, kind)
    if kind in SUMMED:
        kept = past.sums.get((name, kind))
        total = Sum(newest) if kept is None else kept.copy()
        for family in families:
            total.add(family)
        quantiles = _with_slots(sources, lambda sample: is_quantile(newest, sample), name) if kind == "summary" else []
        return newest._replace(samples=[*total, *quantiles] if quantiles else total)
    if kind == "info":
        return newest._replace(samples=_folded(families, lambda one, other: other))
    mode = newest.mode or "liveall"
    if kind == "gauge" and (fold := _FOLDS.get(mode.removeprefix("live"))) is not None:
        ended = past.folded.get((name, mode))
        return newest._replace(samples=_folded([*([] if ended is None else [ended]), *families], fold))
    samples = _with_slots(sources, lambda sample: True, name)
    if kind == "gauge" and mode == "all":
        has = {source.place for source in sources}
        gone = [Source(place, 0, {name: one}) for place, one in past.by_place.get(name, {}).items() if place not in has]
        samples += _with_slots(gone, lambda sample: True, name)
    return newest._replace(samples=samples)


def _folded(families: Iterable[Family], fold: _Fold) -> list[Sample]:
    found: dict[Series, Sample] = {}
    for family in families:
        for sample in family.samples:
            series = sample.name, sample.labels
            before = found.get(series)
            if before is None or math.isnan(before.value):
                found[series] = sample
            elif not math.isnan(sample.value):
                found[series] = fold(before, sample)
    return list(found.values())


def _with_slots(sources: Sequence[Source], wanted: Callable[[Sample], bool], name: str) -> list[Sample]:
    """The samples of each slot's newest worker, with the slot as a label."""
    newest = {source.place: source for source in sources}
    return [
        sample._replace(labels=with_slot(sample.labels, source.place))
        for source in newest.values()
        for sample in source.families[name].samples
        if wanted(sample)
    ]


def with_slot(labels: Labels, place: str) -> Labels:
    """Adds the label ``slot``."""
    own = tuple(("exported_slot" if name == SLOT else name, value) for name, value in labels)
    return tuple(sorted((*own, (SLOT, place))))
