"""One page from many workers' reports: what is summed never goes down, whoever comes and goes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster._metrics.family import Exemplar, Family, Labels, Sample
from aiocluster._metrics.merge import Conflict, Past, Source, merge

FREE: Labels = ()
GET: Labels = (("method", "GET"),)
POST: Labels = (("method", "POST"),)


def counter(**values: float) -> Family:
    """A counter with these values by method, each first counted at the time 100 + its value."""
    samples = [Sample("seen_total", (("method", method),), value) for method, value in values.items()]
    samples += [Sample("seen_created", labels, 100 + value) for _, labels, value, *_ in list(samples)]
    return Family("seen", "counter", "Requests.", "", None, samples)


def gauge(value: float, mode: str | None, since: float = 0.0, labels: Labels = FREE) -> Family:
    return Family("level", "gauge", "A level.", "", mode, [Sample("level", labels, value, since=since)])


def histogram(bounds: Sequence[float], seen: Sequence[float]) -> Family:
    """A histogram of what has been seen."""
    samples = [
        Sample("took_bucket", (("le", str(bound)),), float(sum(value <= bound for value in seen))) for bound in bounds
    ]
    samples.append(Sample("took_bucket", (("le", "+Inf"),), float(len(seen))))
    samples += [Sample("took_count", (), float(len(seen))), Sample("took_sum", (), sum(seen))]
    return Family("took", "histogram", "Time.", "", None, samples)


def page(
    *workers: tuple[str, Sequence[Family]], past: Past | None = None, conflicts: list[Conflict] | None = None
) -> dict[tuple[str, Labels], float]:
    """What the page has of these workers, of which later ones are newer: their slots, and what they have counted."""
    sources = [
        Source(place, number, {family.name: family for family in families})
        for number, (place, families) in enumerate(workers, 1)
    ]
    merged = merge(past or Past(), sources, [] if conflicts is None else conflicts)
    found = [((sample.name, sample.labels), sample.value) for family in merged for sample in family.samples]
    assert len(dict(found)) == len(found), "each series stands there once"
    return dict(found)


def past_of(*ended: tuple[str, Family]) -> Past:
    past = Past()
    for place, family in ended:
        past.add(place, [family])
    return past


# ---- what is summed


def test_counters_are_summed_with_those_of_the_dead_and_created_first() -> None:
    past = past_of(("0", counter(GET=1.0)), ("0", counter(GET=2.0, POST=3.0)))
    found = page(("0", [counter(GET=10.0)]), ("1", [counter(POST=20.0)]), past=past)
    assert found == {
        ("seen_total", GET): 13,
        ("seen_created", GET): 101,
        ("seen_total", POST): 23,
        ("seen_created", POST): 103,
    }


def test_what_only_dead_workers_have_counted_stays() -> None:
    assert page(past=past_of(("0", counter(GET=1.0))))["seen_total", GET] == 1


def test_infinity_and_what_is_no_number_are_not_summed() -> None:
    past = past_of(("0", counter(GET=float("nan"))), ("0", counter(GET=float("inf"))))
    assert page(("0", [counter(GET=1.0)]), past=past)["seen_total", GET] == 1


def test_histograms_with_other_bounds_have_all_of_them() -> None:
    found = page(("0", [histogram([1.0, 5.0], [0.5, 3.0])]), ("1", [histogram([2.0], [1.5, 9.0])]))
    at = {labels[0][1]: value for (name, labels), value in found.items() if name == "took_bucket"}
    assert at == {"1.0": 1, "2.0": 2, "5.0": 3, "+Inf": 4}
    assert (found["took_count", FREE], found["took_sum", FREE]) == (4, 14.0)


def test_the_latest_exemplar_stays() -> None:
    def with_exemplar(trace: str, at: float | None) -> Family:
        exemplar = Exemplar((("trace", trace),), 1.0, at)
        return Family("seen", "counter", "Requests.", "", None, [Sample("seen_total", FREE, 1.0, None, exemplar)])

    families = [with_exemplar("none", None), with_exemplar("late", 9.0), with_exemplar("early", 5.0)]
    sources = [Source(str(slot), slot, {"seen": family}) for slot, family in enumerate(families)]
    (merged,) = merge(Past(), sources, [])
    (sample,) = merged.samples
    assert sample.exemplar is not None
    assert sample.exemplar.labels == (("trace", "late"),)


def test_quantiles_of_a_summary_have_the_slot() -> None:
    samples = [
        Sample("size", (("quantile", "0.5"),), 7.0),
        Sample("size_count", FREE, 2.0),
        Sample("size_sum", FREE, 9.0),
    ]
    size = Family("size", "summary", "Sizes.", "", None, samples)
    assert page(("0", [size]), ("1", [size])) == {
        ("size_count", FREE): 4,
        ("size_sum", FREE): 18,
        ("size", (("quantile", "0.5"), ("slot", "0"))): 7,
        ("size", (("quantile", "0.5"), ("slot", "1"))): 7,
    }


VALUES = st.floats(0, 1e9)
ACTIONS = st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.lists(VALUES, max_size=3))), max_size=30)
BOUNDS = ([1.0, 5.0], [0.5, 1.0, 100.0], [2.0])


@given(ACTIONS)
def test_sums_never_go_down_over_deaths(actions: list[tuple[int, list[float] | None]]) -> None:
    """Workers in three slots see values; None: the worker ends, and one with other bounds takes its place."""
    past = Past()
    seen: list[list[float]] = [[], [], []]
    bounds = [0, 0, 0]
    ended: list[list[float]] = []
    before: dict[tuple[str, Labels], float] = {}

    def families(slot: int) -> list[Family]:
        return [histogram(BOUNDS[bounds[slot]], seen[slot]), counter(GET=sum(seen[slot], 0.1))]

    for slot, values in actions:
        if values is None:
            past.add(str(slot), families(slot))
            ended.append(seen[slot])
            seen[slot], bounds[slot] = [], (bounds[slot] + 1) % len(BOUNDS)
        else:
            seen[slot] = [*seen[slot], *values]
        now = page(*((str(slot), families(slot)) for slot in range(3)), past=past)
        everything = [value for part in (*ended, *seen) for value in part]
        assert now["took_count", FREE] == len(everything)
        assert now["took_sum", FREE] == pytest.approx(sum(everything))
        buckets = [value for (name, _), value in now.items() if name == "took_bucket"]
        assert buckets == sorted(buckets), "a bucket has what the ones below it have"
        assert buckets[-1] == len(everything)
        for series, value in before.items():
            assert now[series] >= value or series[0].endswith("_created")
        before = now


# ---- gauges


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("min", 1.0),
        ("max", 8.0),
        ("sum", 1.0 + 8.0 + 3.0 + 5.0),
        ("mostrecent", 8.0),
        ("livemin", 3.0),
        ("livemax", 5.0),
        ("livesum", 3.0 + 5.0),
        ("livemostrecent", 3.0),
    ],
)
def test_gauges_by_their_mode(mode: str, expected: float) -> None:
    past = past_of(("0", gauge(1.0, mode, since=1.0)), ("1", gauge(8.0, mode, since=9.0)))
    found = page(("0", [gauge(3.0, mode, since=5.0)]), ("1", [gauge(5.0, mode, since=2.0)]), past=past)
    assert found == {("level", FREE): expected}


@pytest.mark.parametrize("mode", ["all", "liveall", None])
def test_gauges_by_slot(mode: str | None) -> None:
    past = past_of(("0", gauge(1.0, mode)), ("2", gauge(2.0, mode)))
    found = page(("0", [gauge(3.0, mode)]), ("cron", [gauge(5.0, mode)]), past=past)
    expected = {"0": 3.0, "cron": 5.0, **({"2": 2.0} if mode == "all" else {})}
    assert found == {("level", (("slot", slot),)): value for slot, value in expected.items()}


def test_while_two_share_a_slot_the_newer_one_counts() -> None:
    assert page(("0", [gauge(1.0, None)]), ("0", [gauge(2.0, None)])) == {("level", (("slot", "0"),)): 2.0}


def test_a_label_of_the_application_that_is_called_slot() -> None:
    found = page(("0", [gauge(1.0, None, labels=(("slot", "a"),))]))
    assert found == {("level", (("exported_slot", "a"), ("slot", "0"))): 1.0}


# ---- others


def test_each_different_info_stands_there_once() -> None:
    def build(version: str) -> Family:
        return Family("build", "info", "", "", None, [Sample("build_info", (("version", version),), 1.0)])

    found = page(("0", [build("1")]), ("1", [build("1")]), ("2", [build("2")]), past=past_of(("0", build("0"))))
    assert found == {("build_info", (("version", version),)): 1.0 for version in ("1", "2")}


def test_an_enum_has_the_slot() -> None:
    mood = Family("mood", "stateset", "", "", None, [Sample("mood", (("mood", "calm"),), 1.0)])
    assert set(page(("0", [mood]), ("1", [mood]))) == {
        ("mood", (("mood", "calm"), ("slot", "0"))),
        ("mood", (("mood", "calm"), ("slot", "1"))),
    }


def test_of_two_types_that_of_most_workers_counts_and_the_rest_is_said() -> None:
    conflicts: list[Conflict] = []
    other = counter(GET=5.0)._replace(type="gauge")
    found = page(
        ("0", [counter(GET=1.0)]),
        ("1", [other]),
        ("2", [counter(GET=2.0)]),
        past=past_of(("1", other)),
        conflicts=conflicts,
    )
    assert found["seen_total", GET] == 3
    assert [(one.place, "seen is of the type gauge there" in one.text) for one in conflicts] == [("1", True)]


def test_after_a_reload_with_another_type_the_new_one_counts() -> None:
    past = past_of(("0", counter(GET=5.0)))
    other = Family("seen", "gauge", "", "", "sum", [Sample("seen", FREE, 1.0)])
    assert page(("0", [other]), past=past) == {("seen", FREE): 1.0}
