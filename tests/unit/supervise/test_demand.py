"""How many workers the load needs: single looks, and whole days of traffic without processes."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from aiocluster._supervise.demand import Crew, Demand, Load, Pace

from .traffic import Traffic

WAIT = Pace().wait
SEEDS = (1, 2, 3, 4, 5)


def crew(wanted: int = 2, serving: int | None = None, low: int = 2, high: int = 8) -> Crew:
    return Crew(low=low, high=high, wanted=wanted, serving=wanted if serving is None else serving)


def after_waiting(load: Load, crew: Crew, seconds: float = WAIT) -> int:
    """What is decided once this load has been there for so long."""
    demand = Demand()
    assert demand.look(load, crew, 100.0) == crew.wanted
    return demand.look(load, crew, 100.0 + seconds)


def stuck(waiting: int, seconds: float = 0.1) -> Load:
    return Load(waiting=waiting, stuck=WAIT, seconds=seconds)


# ---- connections that wait


def test_nobody_is_missed_before_they_have_waited() -> None:
    demand = Demand()
    for tick in range(100):
        waiting = 6 if tick % 3 else 0
        assert demand.look(Load(waiting=waiting, stuck=WAIT, seconds=0.1), crew(), 100.0 + 0.005 * tick) == 2


@pytest.mark.parametrize(
    ("load", "there", "wanted"),
    [
        pytest.param(stuck(1), crew(2), 3, id="one waits behind blocked workers"),
        pytest.param(stuck(4), crew(2), 6, id="as many as wait, at once"),
        pytest.param(stuck(40), crew(2), 8, id="no more than may be"),
        pytest.param(stuck(4), crew(6, serving=2), 6, id="they are starting already"),
        pytest.param(stuck(5), crew(6, serving=2), 7, id="one more than are starting already"),
        pytest.param(stuck(20, seconds=0.001), crew(2), 4, id="quick ones share a new one"),
        pytest.param(stuck(20, seconds=0.0), crew(2), 8, id="nothing is known of how long they take"),
        pytest.param(
            Load(waiting=3, stuck=4 * WAIT, seconds=0.001), crew(2), 5, id="they take longer now than they did"
        ),
        pytest.param(Load(waiting=60, seconds=0.0001), crew(2), 2, id="a long queue of quick ones is no long wait"),
        pytest.param(Load(waiting=60, seconds=0.001), crew(2), 4, id="Little's law: what the queue needs"),
        pytest.param(Load(waiting=2, seconds=0.020), crew(2), 3, id="no more than wait: 20 ms each, 20 ms to wait"),
        pytest.param(stuck(4), crew(8), 8, id="there are all that may be"),
    ],
)
def test_as_many_as_are_missing(load: Load, there: Crew, wanted: int) -> None:
    assert after_waiting(load, there) == wanted


def test_what_arrives_counts_beside_what_waits() -> None:
    demand = Demand()
    demand.look(Load(waiting=20, arrived=100, seconds=0.004), crew(), 100.0)
    later = Load(waiting=20, arrived=140, seconds=0.004)  # 40 in 32 ms, 4 ms each: 5 workers' work
    assert demand.look(later, crew(high=99), 100.032) == 5 + 6  # and 80 ms of work within 15 ms


# ---- busy shares


def test_busy_workers_get_help_when_they_have_been_so_for_a_while() -> None:
    demand = Demand()
    pace = demand.pace
    assert demand.look(Load(busy=1.9), crew(), 100.0) == 2
    assert demand.look(Load(busy=1.9), crew(), 100.0 + pace.settle) == 4
    for now, busy in ((200.0, 1.9), (201.0, 1.4), (202.1, 1.9)):
        assert demand.look(Load(busy=busy), crew(), now) == 2


def test_those_that_are_new_are_heard_first() -> None:
    demand = Demand()
    for now in range(100, 200):
        assert demand.look(Load(busy=None), crew(4), float(now)) == 4
        assert demand.look(Load(busy=2.0), crew(4, serving=2), float(now)) == 4


# ---- fewer


def calm(demand: Demand, there: Crew, seconds: float, since: float, busy: float = 0.1) -> list[float]:
    """When one is taken away, of so many seconds that are looked at twice each."""
    taken = []
    for tick in range(int(2 * seconds)):
        now = since + tick / 2
        wanted = demand.look(Load(busy=busy), there, now)
        if wanted < there.wanted:
            there = crew(wanted)
            taken.append(now - since)
    return taken


def test_one_by_one_down_to_the_lower_bound() -> None:
    demand = Demand()
    patience = demand.pace.patience
    assert calm(demand, crew(5), 100.0, 100.0) == [patience, 2 * patience + 0.5, 3 * patience + 1.0]


@pytest.mark.parametrize(
    ("load", "there"),
    [
        pytest.param(Load(busy=1.6), crew(4), id="the others would have too much to do"),
        pytest.param(Load(busy=0.0, waiting=1), crew(4), id="somebody waits"),
        pytest.param(Load(busy=None), crew(4), id="one has not reported yet"),
        pytest.param(Load(busy=0.0), crew(4, serving=3), id="one is starting"),
        pytest.param(Load(busy=0.0), crew(2), id="the lower bound"),
    ],
)
def test_nobody_is_taken_away(load: Load, there: Crew) -> None:
    demand = Demand()
    for tick in range(1000):
        assert demand.look(load, there, 100.0 + tick / 2) == there.wanted


def test_one_that_is_missed_soon_makes_patient_and_one_that_is_not_impatient() -> None:
    demand = Demand()
    patience, most = demand.pace.patience, demand.pace.most_patience
    now, waits = 0.0, []
    for _ in range(6):
        (left,) = calm(demand, crew(3), most + 1, now)
        now += left + 0.5
        waits.append(left)
        demand.look(stuck(1), crew(2), now)
        assert demand.look(stuck(1), crew(2), now + 2 * WAIT) == 3
        now += 1.0
    assert waits == [patience, 2 * patience, 4 * patience, 8 * patience, most, most]
    taken = calm(demand, crew(8), 1000.0, now)
    assert [later - sooner for sooner, later in zip([-0.5, *taken], taken, strict=False)] == [
        most + 0.5,
        *(share * patience + 0.5 for share in (16, 8, 4, 2, 1)),
    ]


def test_a_pause_begins_anew() -> None:
    demand = Demand()
    demand.look(stuck(5), crew(), 100.0)
    demand.pause()
    assert demand.look(stuck(5), crew(), 101.0) == 2
    assert demand.look(Load(busy=0.0), crew(4), 102.0) == 4
    demand.pause()
    assert demand.look(Load(busy=0.0), crew(4), 200.0) == 4


def test_bounds_that_were_moved_hold_at_once() -> None:
    assert Demand().look(Load(), crew(2, low=4), 0.0) == 4


# ---- traffic: what is slow is five times as fast here, so that a test is short


def blocked_now_and_then(chance: random.Random) -> float:
    """The 4 ms of most requests, and 100 ms of one in twenty: each keeps 2.4 workers busy at 270 a second."""
    return 0.1 if chance.random() < 0.05 else 0.004


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("seconds", "rate"), [(0.1, 50), (0.02, 250)])
def test_a_step(seed: int, seconds: float, rate: float) -> None:
    """Five workers' work comes, and goes again."""
    run = Traffic(lambda now: rate if 2 <= now < 8 else 0.2, lambda chance: seconds, seed=seed).run(40)
    assert run.at(2.0) == 2
    assert run.at(2.5) >= 5
    assert run.turns() == 0  # up, down, and no more
    assert run.numbers[-1] == 2
    assert all(after - before == -1 for before, after in pairwise(run.numbers) if after < before)
    fixed = Traffic(lambda now: rate if 2 <= now < 8 else 0.2, lambda chance: seconds, seed=seed, bounds=(8, 8)).run(10)
    assert run.p99(2.25, 8) <= fixed.p99(2.25, 8) + 0.075


@pytest.mark.parametrize("seed", SEEDS)
def test_a_burst_that_is_over_before_a_worker_could_start(seed: int) -> None:
    run = Traffic(lambda now: 0, lambda chance: 0.002, seed=seed, burst={1.0: 30, 2.0: 20}).run(3)
    assert run.numbers == [2]


@pytest.mark.parametrize("starting", [0.03, 0.4])
def test_a_burst_of_long_ones(starting: float) -> None:
    run = Traffic(lambda now: 0, lambda chance: 0.1, starting=starting, burst={1.0: 5}).run(12)
    assert run.numbers == [2, 5, 4, 3, 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ramp(seed: int) -> None:
    run = Traffic(lambda now: 5 * now, lambda chance: 0.1, seed=seed).run(12)
    assert run.turns() <= 1
    assert run.numbers[-1] >= 7


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sawtooth_is_learned(seed: int) -> None:
    """Five workers' work in one of four seconds: some are taken away once or twice in vain, and then stay."""
    run = Traffic(lambda now: 50 if now % 4 < 1 else 2, lambda chance: 0.1, seed=seed).run(100)
    assert run.turns() <= 4
    assert run.turns(since=50) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_uneven_work_does_not_make_the_number_flap(seed: int) -> None:
    run = Traffic(lambda now: 270, blocked_now_and_then, seed=seed).run(60)
    assert run.turns() <= 6
    assert run.turns(since=30) <= 2
    assert run.at(1.0) >= 4
    fixed = Traffic(lambda now: 270, blocked_now_and_then, seed=seed, bounds=(4, 4)).run(60)
    assert run.p99(1, 60) <= fixed.p99(1, 60)
