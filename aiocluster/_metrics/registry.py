"""From this process's ``prometheus_client.REGISTRY`` to a report.

Each collector is asked by itself: one that raises costs the page nothing but its own news, and its last good numbers
stay, so that no sum goes down because of it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from .family import TYPES, Exemplar, Family, Labels, Report, Sample, pack_family

MODULE = "prometheus_client"
"""It is never imported here: whoever counts has imported it."""

_TARGET = "target"


def counts() -> bool:
    """Whether this process may have counted anything."""
    return MODULE in sys.modules


class Recorder:
    """Makes reports of this process's registry. Its methods may be called in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one report at a time
        self._good: dict[Any, list[bytes]] = {}  # by collector: what it has given last
        self._set: dict[tuple[str, Labels], tuple[float, float]] = {}  # gauges: their value, and since when

    def report(self) -> Report:
        """Returns what this process has counted so far. It takes about 3 microseconds for each number."""
        registry = getattr(sys.modules.get(MODULE), "REGISTRY", None)  # it has none while it is being imported
        if registry is None:
            return Report([], {})
        with self._lock:
            return self._report(registry)

    def _report(self, registry: Any) -> Report:
        good: dict[Any, list[bytes]] = {}
        errors: dict[str, str] = {}
        for collector in _collectors(registry):
            try:
                good[collector] = [self._packed(metric, collector) for metric in collector.collect()]
            except Exception as error:  # an application's own collector may raise anything
                errors[_name_of(collector)] = f"{type(error).__name__}: {error}"
                good[collector] = self._good.get(collector, [])
        self._good = good
        families = [family for of_one in good.values() for family in of_one]
        if target := registry.get_target_info():
            labels = tuple(sorted(target.items()))
            families.append(
                pack_family(Family(_TARGET, "info", "Target metadata", "", None, [Sample("target_info", labels, 1.0)]))
            )
        return Report(families, errors)

    def _packed(self, metric: Any, collector: Any) -> bytes:
        if metric.type not in TYPES:
            raise ValueError(f"{metric.name} is of the type {metric.type!r}")
        mode: str | None = getattr(collector, "_multiprocess_mode", None) if metric.type == "gauge" else None
        samples = [_sample(sample) for sample in metric.samples]
        if mode is not None and mode.endswith("mostrecent"):
            samples = [self._dated(sample) for sample in samples]
        return pack_family(Family(metric.name, metric.type, metric.documentation, metric.unit, mode, samples))

    def _dated(self, sample: Sample) -> Sample:
        """Adds when it was set: as far as can be seen, when its value has changed."""
        series = sample.name, sample.labels
        value, since = self._set.get(series, (0.0, 0.0))
        if sample.value != value:
            since = time.monotonic()  # on Linux and macOS, the same clock for all processes
        self._set[series] = sample.value, since
        return sample._replace(since=since)


def _collectors(registry: Any) -> Iterable[Any]:
    """The registry's collectors, or the registry itself if it hides them."""
    lock, known = getattr(registry, "_lock", None), getattr(registry, "_collector_to_names", None)
    if lock is None or known is None:
        return [registry]
    with lock:
        return list(known)


def _name_of(collector: Any) -> str:
    return str(getattr(collector, "_name", None) or type(collector).__qualname__)


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
