"""From merged families to the bytes of a page, by prometheus-client's own exposition. It is imported here only.

The page is made beside a loop that accepts connections, so whatever is long is done in turns with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from .family import Family, Report, Sample, Series, unpack_family, unpack_report
from .merge import Conflict, Past, Source, merge, with_slot
from .turns import InTurns, in_turns, let_others_run

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Sample as TheirSample

ERRORS = "aiocluster_metrics_errors"
_ERRORS_HELP = "What this page lacks: 1 for each collector, report or family that could not be had or merged."


class Body:
    """A worker's last report as it came."""

    def __init__(self, place: str, id: int, body: bytes) -> None:
        self.place = place
        self.id = id
        self.body = body


def warm_up() -> None:
    """Imports what the first page would."""
    import prometheus_client.openmetrics.exposition as _  # noqa: F401


def read(one: Body, known: dict[bytes, Series], conflicts: list[Conflict]) -> dict[str, Family]:
    """Unpacks a worker's report, as far as it can be.

    Args:
        one: The report.
        known: Series that have been unpacked already.
        conflicts: Gets what can't be read, and what the worker itself could not have.
    """
    try:
        report = unpack_report(one.body)
    except ValueError as error:
        conflicts.append(Conflict(one.place, f"the report of this worker can't be read: {error}"))
        report = Report([], {})
    conflicts += [Conflict(one.place, f"{name} raised {text}") for name, text in report.errors.items()]
    families: dict[str, Family] = {}
    parts: dict[str, InTurns[Sample]] = {}
    for packed in report.families:
        try:
            family = unpack_family(packed, known)
        except ValueError as error:
            conflicts.append(Conflict(one.place, f"a family of this worker can't be read: {error}"))
            continue
        if (before := families.get(family.name)) is None:
            parts[family.name] = InTurns(family.samples)
            families[family.name] = family._replace(samples=parts[family.name])
        elif before.type == family.type:
            parts[family.name].append(family.samples)
        else:
            text = f"{family.name} is a {before.type} and a {family.type} in the same worker: rename one of them"
            conflicts.append(Conflict(one.place, text))
        let_others_run()
    return families


def keep(past: Past, ended: Body) -> None:
    """Adds the last report of a worker that has ended."""
    past.add(ended.place, read(ended, {}, []).values())


def make_page(
    past: Past, bodies: Sequence[Body], own: Sequence[Family], missing: Sequence[Conflict], accept: str
) -> tuple[str, bytes, list[Conflict]]:
    """Makes a page.

    Args:
        past: What workers have counted that have ended.
        bodies: The reports of those that there are.
        own: aiocluster's own families, whose names nobody else may use.
        missing: What is known to be missing.
        accept: What the client accepts: the value of the header ``Accept``.

    Returns:
        Its content type, its bytes, and what it lacks.
    """
    conflicts = list(missing)
    known: dict[bytes, Series] = {}
    sources = [Source(body.place, body.id, read(body, known, conflicts)) for body in bodies]
    taken = {family.name for family in own} | {ERRORS}
    metrics: list[Metric] = []
    for family in merge(past, sources, conflicts):
        if family.name in taken:
            conflicts.append(Conflict("", f"{family.name} is a name of aiocluster's own: rename the application's"))
        else:
            _append(metrics, family, conflicts)
        let_others_run()
    for family in own:
        _append(metrics, family, conflicts)
    _append(metrics, _errors(conflicts), conflicts)
    content_type, body = _expose(metrics, accept, conflicts)
    return content_type, body, conflicts


def _errors(conflicts: Iterable[Conflict]) -> Family:
    found = dict.fromkeys(conflicts)
    pairs = [(with_slot((("error", one.text),), one.place) if one.place else (("error", one.text),)) for one in found]
    return Family(ERRORS, "gauge", _ERRORS_HELP, "", None, [Sample(ERRORS, labels, 1.0) for labels in pairs])


def _append(metrics: list[Metric], family: Family, conflicts: list[Conflict]) -> None:
    from prometheus_client import Metric

    try:
        metric = Metric(family.name, family.documentation, family.type, family.unit)
    except ValueError as error:
        conflicts.append(Conflict("", f"{family.name!r} can't be a family: {error}"))
        return
    metric.samples = cast("list[TheirSample]", _Written(family.samples))  # encoders go through them
    metrics.append(metric)


class _Written:
    """Samples as prometheus-client has them. They are made when they are written, and not kept."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[TheirSample]:
        from prometheus_client.samples import Exemplar, Sample

        for name, labels, value, timestamp, exemplar, _ in in_turns(self._samples):
            shown = None if exemplar is None else Exemplar(dict(exemplar.labels), *exemplar[1:])
            yield Sample(name, dict(labels), value, timestamp, shown)


class _Metrics:
    """A collector of metrics that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for metric in self._metrics:
            let_others_run()
            yield metric


def _expose(metrics: Sequence[Metric], accept: str, conflicts: list[Conflict]) -> tuple[str, bytes]:
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    try:
        return content_type, encode(_registry(metrics))
    except Exception:  # of an application's family that this format has no way to write
        good = [metric for metric in metrics if _can_be_written(metric, encode, conflicts)]
        lacks: list[Metric] = []
        _append(lacks, _errors(conflicts), conflicts)
        return content_type, encode(_registry([*(one for one in good if one.name != ERRORS), *lacks]))


def _can_be_written(metric: Metric, encode: Callable[[CollectorRegistry], bytes], conflicts: list[Conflict]) -> bool:
    let_others_run()
    try:
        encode(_registry([metric]))
    except Exception as error:
        conflicts.append(Conflict("", f"{metric.name} can't be written in this format: {error}"))
        return False
    return True


def _registry(metrics: Iterable[Metric]) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Metrics(metrics))
    return registry
