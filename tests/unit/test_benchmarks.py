"""The benchmarks' arithmetic: the ideal queue, percentiles, ratios, the table and the chart."""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise, repeat
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks import calls, chart, checkout, document, p15_burst, programs, rounds, table, tail
from tests.benchmarks.measurement import Calls, Comparison, Measurement, OwnContender, Sample, SeededContender, at_most
from tests.benchmarks.processor import Timed
from tests.benchmarks.uneven_client import Answer
from tests.benchmarks.uneven_work import (
    Mix,
    Request,
    Turn,
    ideal_closed,
    ideal_open,
    percentile,
    poisson,
    stepped,
    turns,
)

MIX = Mix(short=0.004, long=0.100, long_share=0.05)


def latencies(requests: list[tuple[float, float]], servers: int) -> list[float]:
    return [round(done.latency, 9) for done in ideal_open([Request(*request) for request in requests], servers)]


def test_one_server_takes_one_after_the_other() -> None:
    assert latencies([(0.0, 3.0), (1.0, 3.0), (2.0, 1.0), (9.0, 1.0)], 1) == [3.0, 5.0, 5.0, 1.0]


def test_whoever_is_free_first_serves_the_next() -> None:
    # The second server is busy from 1 to 11: what follows goes through the first alone.
    assert latencies([(0.0, 2.0), (1.0, 10.0), (2.0, 4.0), (3.0, 1.0), (4.0, 1.0)], 2) == [2.0, 10.0, 4.0, 4.0, 4.0]


def test_nobody_waits_while_a_server_is_free() -> None:
    assert latencies([(0.0, 5.0), (0.0, 5.0), (0.0, 5.0)], 3) == [5.0, 5.0, 5.0]


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.001, 1)), min_size=1, max_size=50), st.integers(1, 4))
def test_a_server_more_makes_nobody_wait_longer(requests: list[tuple[float, float]], servers: int) -> None:
    requests.sort()
    fewer, more = latencies(requests, servers), latencies(requests, servers + 1)
    assert all(b <= a for a, b in zip(fewer, more, strict=True))
    assert all(seconds <= latency + 1e-8 for (_, seconds), latency in zip(requests, fewer, strict=True))


def test_clients_that_wait_ask_again_after_they_have_thought() -> None:
    clients = [repeat(Turn(think=1.0, seconds=2.0)), repeat(Turn(think=1.5, seconds=2.0))]
    done = ideal_closed(clients, seconds=8.0, servers=1)
    # The first asks at 1 and is served until 3; the second asks at 1.5, from 3 until 5; the first again at 4, until 7.
    assert [(each.at, each.latency) for each in done] == [(1.0, 2.0), (1.5, 3.5), (4.0, 3.0), (6.5, 2.5)]


def test_the_same_seed_is_the_same_work() -> None:
    assert poisson(7, 270.0, 5.0, MIX) == poisson(7, 270.0, 5.0, MIX)
    assert poisson(7, 270.0, 5.0, MIX) != poisson(8, 270.0, 5.0, MIX)
    first, again, other = (turns(7, client, 0.05, MIX) for client in (1, 1, 2))
    taken = [next(first) for _ in range(100)]
    assert taken == [next(again) for _ in range(100)]
    assert taken != [next(other) for _ in range(100)]


def test_arrivals_and_service_times_are_as_many_and_as_long_as_told() -> None:
    requests = poisson(1, 270.0, 100.0, MIX)
    assert len(requests) == pytest.approx(27_000, rel=0.03)
    assert sum(request.seconds == MIX.long for request in requests) / len(requests) == pytest.approx(0.05, abs=0.01)
    assert all(earlier.at < later.at < 100.0 for earlier, later in pairwise(requests))


def test_a_step_is_a_rate_and_then_another() -> None:
    requests = stepped(1, [(10.0, 20.0), (10.0, 200.0)], MIX)
    before = sum(request.at < 10.0 for request in requests)
    assert before == pytest.approx(200, rel=0.3)
    assert len(requests) - before == pytest.approx(2_000, rel=0.1)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.9, 90), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_percentiles_are_values_that_occurred(share: float, value: int) -> None:
    assert percentile(range(100, 0, -1), share) == value


def report(*answers: Answer) -> dict[str, object]:
    return {"answers": [list(answer) for answer in answers], "errors": {"closed": 1}}


def test_the_warm_up_counts_for_nothing() -> None:
    seen = tail.of_requests(
        report(Answer(0.5, 9.0, 1.0, 11, 0), Answer(1.5, 0.2, 0.001, 12, 1), Answer(1.6, 0.1, 0.0, 12, 2)), 1.5, 4
    )
    assert seen.seconds == {"p50": 0.1, "p90": 0.2, "p99": 0.2}
    assert list(seen.shares) == [2, 0, 0, 0]
    assert seen.errors == {"closed": 1}
    assert seen.sample == Sample(0.2, {"closed": 1}, {"p50": 0.1, "p90": 0.2}, [2, 0, 0, 0])


def test_connections_that_stay_are_counted_once_each() -> None:
    answers = [Answer(2.0, 0.1, 0.0, 11, 0), Answer(2.0, 0.1, 0.0, 11, 1), Answer(2.0, 0.1, 0.0, 12, 2)]
    assert list(tail.of_connections(report(*answers, *answers), 0.0, 3).shares) == [2, 1, 0]


def test_a_connection_that_several_workers_answer_is_nobodys() -> None:
    answers = [Answer(2.0, 0.1, 0.0, 11, 0), Answer(2.1, 0.1, 0.0, 12, 0)]
    assert list(tail.of_connections(report(*answers), 0.0, 2).shares) == []


def test_a_late_client_spoils_the_run_and_it_is_taken_again() -> None:
    late = tail.Tail({"p50": 1.0, "p90": 1.0, "p99": 1.0}, late=2 * tail.LATE)
    good = tail.Tail({"p50": 1.0, "p90": 2.0, "p99": 3.0})
    runs = iter([late, late, good])
    assert tail.punctual(lambda: next(runs).sample) == good.sample
    with pytest.raises(tail.ClientLate, match="10\\.0 ms late"):
        tail.punctual(lambda: late.sample)


def test_a_new_worker_serves_from_when_its_first_handler_began() -> None:
    began = p15_burst.CALM[0]
    answers = [Answer(1.0, 0.02, 0.0, 11, 0), Answer(began + 0.01, 0.08, 0.0, 13, 1), Answer(began, 0.1, 0.0, 14, 2)]
    assert p15_burst.of_a_new_one(report(*answers), {11, 12}) == pytest.approx(0.01 + 0.08 - 0.02)
    assert p15_burst.of_a_new_one(report(*answers), {11, 13, 14}) is None


@pytest.fixture
def result() -> rounds.Result:
    def contender(name: str, slower: float) -> SeededContender:
        return SeededContender(name, lambda seed: Sample(seed * slower, further={"p50": slower}, shares=(30, 10)))

    measurement = Measurement(
        "P0",
        "99 % are answered within",
        "s",
        contenders=(contender("ideal", 1.0), contender("ours", 1.5), contender("theirs", 3.0)),
        comparisons=(
            Comparison("ours", "ideal", at_most(1.2)),
            Comparison("ours", "ideal", at_most(1.6), figure="p50"),
            Comparison("ours", "theirs", at_most(1.0)),
        ),
        figure="p99",
        further=("p50",),
        baseline="ideal",
    )
    return rounds.run(measurement, 3, missing=lambda program: None, watch=lambda *_: None)


def test_each_round_has_its_number_as_the_seed(result: rounds.Result) -> None:
    assert [sample.value for sample in result.samples["ours"]] == [1.5, 3.0, 4.5]


def test_the_table_has_all_figures_in_one(result: rounds.Result) -> None:
    lines = [" ".join(line.split()) for line in table.table([result], 3).splitlines()]
    assert lines[4:] == [
        "p50 p99 p50 × ideal p99 × ideal shares",
        "ideal 1.00 s (1.00–1.00 s) 2.00 s (1.00–3.00 s) 30/10",
        (
            "ours 1.50 s (1.50–1.50 s) 3.00 s (1.50–4.50 s) "
            "1.50 (1.50–1.50) ≤ 1.6: met, 3 of 3 1.50 (1.50–1.50) ≤ 1.2: NOT met, 0 of 3 30/10"
        ),
        "theirs 3.00 s (3.00–3.00 s) 6.00 s (3.00–9.00 s) 3.00 (3.00–3.00) 3.00 (3.00–3.00) 30/10",
        "p50 p99",
        "ours / theirs 0.50 (0.50–0.50) ≤ 1: met, 3 of 3",
    ]


def test_the_docs_have_the_same_table(result: rounds.Result) -> None:
    lines = table.markdown([result]).splitlines()
    assert lines[2] == "| | p50 | p99 | p50 × ideal | p99 × ideal | shares |"
    assert lines[4] == "| ideal | 1.00 s (1.00–1.00 s) | 2.00 s (1.00–3.00 s) | | | 30/10 |"


def test_json_has_every_rounds_figures(result: rounds.Result) -> None:
    (written,) = document.data([result])
    ours = written["contenders"][1]
    assert ours["figure"] == "p99"
    assert ours["further"]["p50"]["rounds"] == [1.5, 1.5, 1.5]
    assert ours["shares"] == [[30, 10]] * 3
    assert ours["beside_baseline"]["p99"]["rounds"] == [1.5, 1.5, 1.5]
    assert [(ratio["figure"], ratio["met"]) for ratio in written["ratios"]] == [
        (None, False),
        ("p50", True),
        (None, True),
    ]


def test_the_chart_shows_everybody_beside_the_baseline(result: rounds.Result, tmp_path: Path) -> None:
    chart.write([result], tmp_path / "chart.svg")
    drawn = ElementTree.fromstring((tmp_path / "chart.svg").read_text())
    texts = ["".join(element.itertext()) for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in ("ideal", "ours", "theirs")] == ["ours", "theirs"]
    assert "3.00 (3.00–3.00)" in texts
    assert "1.50 (1.50–1.50), goal ≤ 1.2" in texts
    assert chart.drawing(chart.read(tmp_path / "chart.json")).svg() == (tmp_path / "chart.svg").read_text()


def test_processor_time_is_that_of_the_named_processes_over_the_timed_part() -> None:
    timed = Timed({"primary": [os.getpid()], "parent": [os.getppid()]})
    sum(range(1_000_000))  # is not timed
    before = time.process_time()
    timed.begin()
    begun = time.process_time()
    sum(range(1_000_000))
    ended = time.process_time()
    timed.end()
    after = time.process_time()
    used = timed.cpu_of_each(operations=2)
    assert (ended - begun) / 2 <= used["primary"] <= (after - before) / 2
    assert set(used) == {"primary", "parent"}
    assert timed.rate(2)["value"] == pytest.approx(2 / timed.seconds)


def greet() -> None:
    """A program that is measured: each of three operations makes one call in Python and two in C."""
    with calls.counting("primary"):
        for _ in range(3):
            (lambda: (len("a"), len("b")))()
    print("{}")


def test_calls_are_counted_where_the_program_says() -> None:
    code = f"from {__name__} import greet; greet()"
    counted = calls.counted([sys.executable, "-c", code], operations=3)["primary"]
    assert counted.functions["<built-in method builtins.len>"] == 2
    assert [count for name, count in counted.functions.items() if "<lambda>" in name] == [1]
    assert counted.python >= 1
    assert counted.c >= 2


def test_another_checkouts_package_is_measured_by_this_ones_programs(tmp_path: Path) -> None:
    for package in ("aiocluster", "tests"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    code = "import json, aiocluster, tests; print(json.dumps([aiocluster.__file__, tests.__path__[0]]))"
    with checkout.another(tmp_path) as before:
        command = before.python(test_another_checkouts_package_is_measured_by_this_ones_programs)
        package, own = programs.answer([*command[: command.index("-m")], "-c", code])
        assert Path(package).resolve() == tmp_path / "aiocluster" / "__init__.py"
        assert Path(own).resolve() == programs.ROOT / "tests"
    with pytest.raises(FileNotFoundError, match="no checkout of aiocluster"), checkout.another(tmp_path / "tests"):
        pass


def test_costs_are_shown_beside_those_of_the_other_checkout() -> None:
    old = checkout.Checkout(Path("old"))

    def sample(of: checkout.Checkout) -> Sample:
        return Sample(1000.0, cpu={"primary": 4e-6 if of == old else 3e-6})

    ours = OwnContender("ours", sample, calls=lambda of: {"primary": Calls(31.0, 27.5, {"f": 31.0})})
    both = Measurement("P0", "requests", "requests/s", contenders=(ours,), comparisons=()).beside(old)
    result = rounds.run(both, 2, missing=lambda program: None, watch=lambda *_: None)
    assert [" ".join(line.split()) for line in table.table([result], 2).splitlines()[-3:]] == [
        "CPU time × before Python calls C calls",
        "ours: primary 3.00 µs (3.00–3.00 µs) 0.75 (0.75–0.75) 31.0 27.5",
        "ours, before: primary 4.00 µs (4.00–4.00 µs) 31.0 27.5",
    ]
    (written,) = document.data([result])
    cost = written["contenders"][0]["per_operation"]["primary"]
    assert cost["cpu"]["rounds"] == [3e-6, 3e-6]
    assert cost["cpu_beside_before"]["median"] == pytest.approx(0.75)
    assert cost["calls"]["python"] == 31.0
    assert [ratio["against"] for ratio in written["ratios"]] == ["ours, before"]
