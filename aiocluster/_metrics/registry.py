"""From this process's ``prometheus_client.REGISTRY`` to a report.

Each collector is asked by itself: one that raises costs the page nothing but its own news, and its last good numbers
stay, so that no sum goes down because of it.

What a fork server has counted while it imported the application is in the memory of each worker that it forks. The fork
server reports it, once, and its workers report what they have counted beyond that.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .family import SUMMED, TYPES, Exemplar, Family, Labels, Report, Sample, pack_in_parts, pack_report
from .turns import in_turns, let_others_run

MODULE = "prometheus_client"
"""It is never imported here: whoever counts has imported it."""

Inherited = Mapping[tuple[str, Labels], float]
"""What had been counted when this process was forked, by name and labels."""

_TARGET = "target"
_LONGEST = 500  # characters of an exception's text


def counts() -> bool:
    """Whether this process may have counted anything."""
    return MODULE in sys.modules


def counted_before_forks() -> bytes:
    """In a fork server: the packed report of what it has counted itself; empty if that is nothing."""
    families = [family for family in _own_sums() if any(_is_counted(sample) for sample in family.samples)]
    return pack_report(Report([part for family in families for part in pack_in_parts(family)], {})) if families else b""


def inherited() -> Inherited:
    """In a process that has just been forked: what its parent had counted."""
    return {
        (sample.name, sample.labels): sample.value
        for family in _own_sums()
        for sample in family.samples
        if _is_counted(sample)
    }


class Recorder:
    """Makes reports of this process's registry. Its methods may be called in any thread.

    Args:
        inherited: What had been counted when this process was forked; it is not reported.
    """

    def __init__(self, inherited: Inherited | None = None) -> None:
        self._inherited: Inherited = inherited or {}
        self._lock = threading.Lock()  # one report at a time
        self._good: dict[Any, list[bytes]] = {}  # by collector: what it has given last
        self._errors: dict[Any, tuple[type[Exception], str]] = {}  # by collector: what it raises, and that in words
        self._set: dict[tuple[str, Labels], tuple[float, float]] = {}  # gauges: their value, and since when

    def report(self) -> Report:
        """Returns what this process has counted so far. It takes about 3 microseconds for each number."""
        registry = _registry()
        if registry is None:
            return Report([], {})
        with self._lock:
            return self._report(registry)

    def _report(self, registry: Any) -> Report:
        good: dict[Any, list[bytes]] = {}
        errors: dict[Any, tuple[type[Exception], str]] = {}
        for collector in _collectors(registry):
            try:
                good[collector] = [part for metric in collector.collect() for part in self._packed(metric, collector)]
            except Exception as error:  # an application's own collector may raise anything
                before = self._errors.get(collector)
                if before is None or before[0] is not type(error):
                    before = type(error), _in_words(error)
                errors[collector] = before  # as a label, it must not change with each scrape
                good[collector] = self._good.get(collector, [])
        self._good, self._errors = good, errors
        families = [family for of_one in good.values() for family in of_one]
        if target := registry.get_target_info():
            labels = tuple(sorted(target.items()))
            families += pack_in_parts(
                Family(_TARGET, "info", "Target metadata", "", None, [Sample("target_info", labels, 1.0)])
            )
        return Report(families, {_name_of(one): text for one, (_, text) in errors.items()})

    def _packed(self, metric: Any, collector: Any) -> Iterator[bytes]:
        if metric.type not in TYPES:
            raise ValueError(f"{metric.name} is of the type {metric.type!r}")
        family = _family(metric, collector)
        if self._inherited and family.type in SUMMED:
            family = family._replace(samples=[self._own_part(sample) for sample in in_turns(family.samples)])
        if family.mode is not None and family.mode.endswith("mostrecent"):
            family = family._replace(samples=[self._dated(sample) for sample in in_turns(family.samples)])
        for part in pack_in_parts(family):
            yield part
            let_others_run()

    def _own_part(self, sample: Sample) -> Sample:
        """Takes away what was inherited, unless the application has begun at 0 again since."""
        before = self._inherited.get((sample.name, sample.labels), 0.0)
        return sample._replace(value=sample.value - before) if sample.value >= before else sample

    def _dated(self, sample: Sample) -> Sample:
        """Adds when it was set: as far as can be seen, when its value has changed."""
        series = sample.name, sample.labels
        value, since = self._set.get(series, (0.0, 0.0))
        if sample.value != value:
            since = time.monotonic()  # on Linux and macOS, the same clock for all processes
        self._set[series] = sample.value, since
        return sample._replace(since=since)


def _registry() -> Any:
    return getattr(sys.modules.get(MODULE), "REGISTRY", None)  # it has none while it is being imported


def _collectors(registry: Any) -> Iterable[Any]:
    """The registry's collectors, or the registry itself if it hides them."""
    lock, known = getattr(registry, "_lock", None), getattr(registry, "_collector_to_names", None)
    if lock is None or known is None:
        return [registry]
    with lock:
        return list(known)


def _own_sums() -> Iterator[Family]:
    """What this process counts itself, in prometheus-client's own metrics. Other collectors look elsewhere."""
    registry = _registry()
    if registry is None:
        return
    own = sys.modules[f"{MODULE}.metrics"].MetricWrapperBase
    for collector in _collectors(registry):
        if isinstance(collector, own):
            yield from (_family(metric, collector) for metric in collector.collect() if metric.type in SUMMED)


def _is_counted(sample: Sample) -> bool:
    return bool(sample.value) and not sample.name.endswith("_created")


def _name_of(collector: Any) -> str:
    return str(getattr(collector, "_name", None) or type(collector).__qualname__)


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST]


def _family(metric: Any, collector: Any) -> Family:
    mode: str | None = getattr(collector, "_multiprocess_mode", None) if metric.type == "gauge" else None
    samples = [_sample(sample) for sample in in_turns(metric.samples)]
    return Family(metric.name, metric.type, metric.documentation, metric.unit, mode, samples)


def _sample(sample: Any) -> Sample:
    exemplar = sample.exemplar
    return Sample(
        sample.name,
        _labels(sample.labels),
        float(sample.value),
        None if sample.timestamp is None else float(sample.timestamp),
        None if exemplar is None else Exemplar(_labels(exemplar.labels), float(exemplar.value), _time(exemplar)),
    )


def _time(exemplar: Any) -> float | None:
    return None if exemplar.timestamp is None else float(exemplar.timestamp)


def _labels(labels: Any) -> Labels:
    return tuple(sorted((str(name), str(value)) for name, value in labels.items()))
