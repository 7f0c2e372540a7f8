"""From a registry to a report and back, with prometheus-client's own metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator

import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from aiocluster._metrics.family import (
    TYPES,
    Exemplar,
    Family,
    Report,
    Sample,
    pack_family,
    pack_in_parts,
    pack_report,
    unpack_family,
    unpack_report,
)
from aiocluster._metrics.merge import Past
from aiocluster._metrics.page import Body, keep, make_page
from aiocluster._metrics.registry import Recorder, counted_before_forks, inherited
from aiocluster._wire.codec import pack_fields

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """An empty one in place of the process's own."""
    registry = CollectorRegistry(auto_describe=True)
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    return registry


class Broken:
    """A collector that raises when told."""

    def __init__(self) -> None:
        self.is_broken = False
        self.times = 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily("own", "An own one.", 3)
        if self.is_broken:
            self.times += 1
            raise LookupError(f"no database{'' if self.times == 1 else f', for the {self.times}th time'}")


def text(*bodies: bytes, accept: str = "", own: tuple[Family, ...] = (), past: Past | None = None) -> str:
    """The page of workers with these reports, in the slots 0, 1 …"""
    reports = [Body(str(slot), slot + 1, body) for slot, body in enumerate(bodies)]
    return make_page(past or Past(), reports, own, [], accept)[1].decode()


def test_the_page_of_one_worker_is_what_it_would_write_itself(registry: CollectorRegistry) -> None:
    Counter("seen", "Requests.\nAll.", ["method"], registry=registry).labels('a"b\\c\n').inc(exemplar={"trace": "7"})
    Histogram("took", "Time.", unit="seconds", registry=registry).observe(0.3, {"trace": "8"})
    Summary("size", "Sizes.", registry=registry).observe(4)
    Info("build", "What runs.", registry=registry).info({"version": "1"})
    Gauge("level", "A level.", registry=registry, multiprocess_mode="max").set(3)
    registry.set_target_info({"service": "shop"})
    body = pack_report(Recorder().report())
    written = {"": generate_latest(registry), OPENMETRICS: generate_openmetrics(registry)}  # type: ignore[no-untyped-call]
    for accept, expected in written.items():
        expected_lines = set(expected.decode().splitlines())
        found = text(body, accept=accept)
        assert expected_lines <= set(found.splitlines())
        lines = [line for line in found.splitlines() if "aiocluster_metrics_errors" not in line]
        assert len(lines) == len(expected.decode().splitlines())
        assert found.endswith("# EOF\n") == bool(accept)


def test_a_gauge_and_an_enum_have_the_slot(registry: CollectorRegistry) -> None:
    Gauge("level", "A level.", registry=registry).set(3)
    Enum("mood", "How it is.", states=["calm", "busy"], registry=registry).state("busy")
    body = pack_report(Recorder().report())
    found = text(body, body)
    assert 'level{slot="1"} 3.0' in found
    assert 'mood{mood="busy",slot="0"} 1.0' in found


def test_a_collector_that_raises_costs_no_sum(registry: CollectorRegistry) -> None:
    broken, recorder = Broken(), Recorder()
    registry.register(broken)
    seen = Counter("seen", "Requests.", registry=registry)
    assert "own_total 3.0" in text(pack_report(recorder.report()))
    broken.is_broken = True
    seen.inc()
    text(pack_report(recorder.report()))
    found = text(pack_report(recorder.report()))  # the same label, whatever the details are
    assert "own_total 3.0" in found
    assert "seen_total 1.0" in found
    assert 'aiocluster_metrics_errors{error="Broken raised LookupError: no database",slot="0"} 1.0' in found


def test_the_gauge_that_was_set_last(registry: CollectorRegistry) -> None:
    level = Gauge("level", "A level.", registry=registry, multiprocess_mode="mostrecent")
    first, second = Recorder(), Recorder()
    not_set = pack_report(second.report())
    level.set(3)
    earlier = pack_report(first.report())
    assert "level 3.0" in text(earlier, not_set)
    level.set(2)
    later = pack_report(second.report())
    assert "level 2.0" in text(earlier, later)
    assert "level 2.0" in text(later, earlier)
    past = Past()
    keep(past, Body("0", 1, later))
    assert "level 2.0" in text(earlier, past=past)


def test_what_can_not_be_written_or_read_is_left_out_and_said() -> None:
    good = Family("good", "counter", "", "", None, [Sample("good_total", (), 1.0)])
    bad = Family("", "counter", "", "", None, [])
    taken = Family("aiocluster_workers", "gauge", "", "", None, [])
    body = pack_report(unpack_report(b"")._replace(families=[pack_family(one) for one in (good, bad, taken)] + [b"?"]))
    found = text(body, b"\xc1", own=(taken._replace(samples=[Sample("aiocluster_workers", (), 4.0)]),))
    assert "good_total 1.0" in found
    assert "aiocluster_workers 4.0" in found
    errors = re.findall(r'^aiocluster_metrics_errors\{error="(.*?)"', found, re.MULTILINE)
    assert len(errors) == 4


TEXTS = st.text(max_size=3)
SAMPLES = st.builds(
    Sample,
    st.sampled_from(["a", "a_total", "a_bucket", "a_sum", "a_created", "b"]) | TEXTS,
    st.dictionaries(
        st.sampled_from(["le", "quantile", "slot", "method"]) | TEXTS, st.sampled_from(["1", "nan"]) | TEXTS
    ).map(lambda labels: tuple(sorted(labels.items()))),
    st.floats() | st.just(1e308),
    st.none() | st.floats(),
    st.none() | st.builds(Exemplar, st.just((("trace", "1"),)), st.floats(), st.none() | st.floats()),
)
FAMILIES = st.builds(
    Family,
    st.sampled_from(["a", "b"]) | TEXTS,
    st.sampled_from(sorted(TYPES)),
    TEXTS,
    st.sampled_from(["", "seconds"]),
    st.sampled_from([None, "all", "max", "livesum", "mostrecent"]) | TEXTS,
    st.lists(SAMPLES, max_size=5),
)


@settings(max_examples=50)  # each is two pages
@given(st.lists(st.lists(FAMILIES, max_size=3), max_size=3))
def test_any_families_make_a_page(workers: list[list[Family]]) -> None:
    bodies = []
    for families in workers:
        packed: list[bytes] = []
        for family in families:
            try:
                packed += pack_in_parts(family)
            except ValueError:  # a surrogate, say
                pass
        bodies.append(pack_report(Report(packed, {})))
    past = Past()
    for body in bodies:
        keep(past, Body("0", 0, body))
    for accept in ("", OPENMETRICS):
        assert "# TYPE aiocluster_metrics_errors gauge" in text(*bodies, accept=accept, past=past)


def test_a_sum_beyond_all_floats_is_infinite_and_stays() -> None:
    body = pack_report(Report([pack_family(Family("a", "counter", "", "", None, [Sample("a_total", (), 1e308)]))], {}))
    past = Past()
    for _ in range(4):
        keep(past, Body("0", 0, body))
        assert "a_total +Inf" in text(body, body, past=past)


def test_a_long_family_travels_in_parts() -> None:
    family = Family("a", "gauge", "", "", "all", [Sample("a", (("n", str(number)),), number) for number in range(1000)])
    parts = [unpack_family(part, {}) for part in pack_in_parts(family)]
    assert len(parts) > 1
    assert [sample for part in parts for sample in part.samples] == family.samples
    assert text(pack_report(Report([*pack_in_parts(family)], {}))).count("\na{") == 1000


def test_what_a_fork_server_has_counted_is_not_counted_again(registry: CollectorRegistry) -> None:
    seen = Counter("seen", "Requests.", ["method"], registry=registry)
    assert counted_before_forks() == b""
    seen.labels("GET").inc(2)
    Histogram("took", "Time.", registry=registry, buckets=(1.0, 5.0)).observe(3)
    registry.register(Broken())  # it looks elsewhere, so there is nothing to inherit
    before = counted_before_forks()
    recorder = Recorder(inherited())
    seen.labels("GET").inc()
    seen.labels("POST").inc()
    found = text(before, pack_report(recorder.report()), pack_report(Recorder(inherited()).report()))
    for line in ('seen_total{method="GET"} 3.0', 'seen_total{method="POST"} 1.0', "took_count 1.0", "own_total 6.0"):
        assert line in found
    seen.clear()  # it begins at 0 again
    seen.labels("GET").inc()
    assert 'seen_total{method="GET"} 1.0' in text(pack_report(recorder.report()))


@settings(max_examples=50)  # each is a page
@given(st.recursive(st.none() | st.floats() | st.text() | st.binary(), lambda inner: st.lists(inner, max_size=7)))
def test_any_report_is_read_or_refused(value: object) -> None:
    packed = pack_fields([value]) if not isinstance(value, list) else pack_fields(value)
    for read in (unpack_report, lambda body: unpack_family(body, {})):
        try:
            read(packed)
        except ValueError:
            pass
    text(packed, packed)
