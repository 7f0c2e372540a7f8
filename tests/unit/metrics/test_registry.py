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

from aiocluster._metrics.family import Family, Sample, pack_family, pack_report, unpack_family, unpack_report
from aiocluster._metrics.merge import Past
from aiocluster._metrics.page import Body, keep, make_page
from aiocluster._metrics.registry import Recorder
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

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily("own", "An own one.", 3)
        if self.is_broken:
            raise LookupError("no database")


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
    found = text(pack_report(recorder.report()))
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
