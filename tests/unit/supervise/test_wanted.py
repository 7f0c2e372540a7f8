"""Requests, one after the other, and how failures change the wanted state."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aiocluster._supervise.bounds import Bounds
from aiocluster._supervise.plan import Seen, Slot
from aiocluster._supervise.wanted import Reload, Request, Scale, StartAgents, Wanted
from aiocluster.errors import ReloadError, StartupError
from aiocluster.settings import RestartPolicy

WHY = StartupError("it did not start")


class Cluster:
    """The wanted state of a cluster whose slots are filled whenever a test says so."""

    def __init__(self, workers: int = 0, agents: tuple[str, ...] = (), **policy: Any) -> None:
        self.wanted = Wanted(RestartPolicy(**policy), start_timeout=10.0)
        self.seen: dict[Slot, Seen] = {}
        if agents:
            self.do(StartAgents(agents=agents))
        if workers:
            self.do(Scale(workers=workers))

    def begin(self, request: Request) -> None:
        self.wanted.ask(request)
        assert self.wanted.begin() is request

    def do(self, request: Request) -> None:
        """Begins a request, fills the slots it wants, and finishes it."""
        self.begin(request)
        for slot in [slot for slot in self.seen if slot not in self.wanted.want.slots]:
            del self.seen[slot]
        for slot in self.wanted.want.slots:
            self.fill(slot)
        assert self.wanted.finish(self.seen.values()) is request
        assert request.error is None

    def fill(self, slot: Slot) -> None:
        self.seen[slot] = self.process(slot, is_accepted=True, is_online=True)
        self.wanted.accepted(slot)

    def process(self, slot: Slot, **known: Any) -> Seen:
        return Seen(id=len(self.seen) + 1, slot=slot, generation=self.wanted.want.generation, **known)

    def fail(self, slot: Slot, *, stays: bool = False, generation: int | None = None) -> bool:
        one = self.process(slot)
        one.generation = one.generation if generation is None else generation
        return self.wanted.failed(one, WHY, 100.0, 0.5, stays=stays)


def test_nothing_is_wanted_at_first() -> None:
    wanted = Wanted(RestartPolicy(), 7.0)
    assert wanted.want.slots == ()
    assert wanted.want.start_timeout == 7.0
    assert wanted.begin() is None
    assert wanted.finish([]) is None
    assert (wanted.next_reload, wanted.bounds) == (None, (0, 0))
    assert (wanted.restarts, wanted.is_given_up, wanted.may_start) == (0, False, {})


def test_requests_are_done_one_after_the_other() -> None:
    wanted = Wanted(RestartPolicy(), 10.0)
    first, second = Scale(workers=0), Scale(workers=0)
    wanted.ask(first)
    wanted.ask(second)
    assert wanted.begin() is first
    assert wanted.begin() is None
    assert wanted.finish([]) is first
    assert wanted.finish([]) is None
    assert wanted.begin() is second
    assert wanted.finish([]) is second


def test_agents_come_before_workers() -> None:
    cluster = Cluster(workers=2, agents=("a", "b"))
    assert cluster.wanted.want.slots == ("a", "b", 0, 1)


def test_scaling_up_takes_the_lowest_free_slots_and_down_the_last_ones() -> None:
    cluster = Cluster(workers=3)
    assert list(cluster.wanted.want.workers) == [0, 1, 2]
    cluster.do(Scale(workers=5))
    assert list(cluster.wanted.want.workers) == [0, 1, 2, 3, 4]
    cluster.do(Scale(workers=2))
    assert list(cluster.wanted.want.workers) == [0, 1]


def test_a_slot_that_is_given_up_is_filled_at_once_when_it_comes_back() -> None:
    cluster = Cluster(workers=2)
    cluster.wanted.closed(1)
    assert cluster.wanted.may_start == {1: math.inf}
    cluster.do(Scale(workers=1))
    assert cluster.wanted.may_start == {}


def test_each_reload_is_of_a_generation_of_its_own_even_after_one_that_failed() -> None:
    cluster = Cluster(workers=1)
    cluster.do(Reload())
    assert cluster.wanted.want.generation == 1
    cluster.begin(Reload())
    assert cluster.fail(0, stays=True)
    assert cluster.wanted.want.generation == 1
    assert cluster.wanted.finish(cluster.seen.values()) is not None
    cluster.begin(Reload())
    assert cluster.wanted.want.generation == 3


def test_a_reload_is_the_next_one_only_while_it_is_queued() -> None:
    cluster = Cluster(workers=1)
    scale, reload, another = Scale(workers=1), Reload(), Reload()
    cluster.begin(scale)
    cluster.wanted.ask(reload)
    assert cluster.wanted.next_reload is reload
    cluster.wanted.finish(cluster.seen.values())
    cluster.wanted.begin()
    assert cluster.wanted.next_reload is None  # it may have renewed workers already
    cluster.wanted.ask(another)
    assert cluster.wanted.next_reload is another


def test_the_number_of_workers_is_what_the_last_request_asks_for() -> None:
    cluster = Cluster(workers=1)
    assert cluster.wanted.bounds == (1, 1)
    cluster.begin(Scale(workers=2))
    cluster.wanted.ask(Scale(workers=cluster.wanted.bounds.moved(1)))
    cluster.wanted.ask(Reload())
    assert len(cluster.wanted.want.workers) == 2
    assert cluster.wanted.bounds == (3, 3)


def test_a_reload_fills_slots_that_were_left_empty() -> None:
    cluster = Cluster(workers=2)
    cluster.wanted.closed(1)
    cluster.begin(Reload())
    assert cluster.wanted.may_start == {}


# ---- failures


def test_a_first_worker_that_fails_ends_its_request_and_only_filled_slots_stay_wanted() -> None:
    cluster = Cluster(workers=1, agents=("a",))
    request = Scale(workers=4)
    cluster.begin(request)
    cluster.fill(2)
    assert cluster.fail(1)
    assert request.error is WHY
    assert cluster.wanted.want.workers == (0, 2)
    assert cluster.wanted.want.agents == ("a",)
    assert cluster.wanted.restarts == 0  # no replacement: there was none to replace
    assert not cluster.fail(3)  # the request has failed already


def test_an_agent_that_fails_at_first_is_not_wanted_any_more() -> None:
    cluster = Cluster()
    request = StartAgents(agents=("a", "b"))
    cluster.begin(request)
    cluster.fill("a")
    assert cluster.fail("b")
    assert request.error is WHY
    assert cluster.wanted.want.agents == ("a",)


def test_a_failed_replacement_ends_a_reload_and_the_old_one_stays() -> None:
    cluster = Cluster(workers=2)
    request = Reload()
    cluster.begin(request)
    cluster.fill(0)
    assert cluster.fail(1, stays=True)
    assert isinstance(request.error, ReloadError)
    assert str(request.error) == "the reload has been given up, the old workers stay: it did not start"
    assert request.error.__cause__ is WHY
    assert cluster.wanted.want.generation == 0
    assert cluster.wanted.want.workers == (0, 1)
    assert cluster.wanted.restarts == 0
    assert cluster.wanted.finish(cluster.seen.values()) is request


def test_a_failed_replacement_of_an_earlier_generation_does_not_end_a_reload() -> None:
    cluster = Cluster(workers=2)
    request = Reload()
    cluster.begin(request)
    assert not cluster.fail(1, generation=0)
    assert request.error is None
    assert cluster.wanted.restarts == 1  # nobody stays: it counts like an unexpected end


def test_a_failed_replacement_does_not_end_a_scaling_of_others() -> None:
    cluster = Cluster(workers=2)
    request = Scale(workers=3)
    cluster.begin(request)
    assert not cluster.fail(0)
    assert request.error is None
    assert cluster.wanted.may_start == {0: 100.0}


def test_a_failure_without_a_request_counts_like_an_unexpected_end() -> None:
    cluster = Cluster(workers=1)
    assert not cluster.fail(0)
    assert cluster.wanted.restarts == 1
    assert cluster.wanted.may_start == {0: 100.0}


def test_a_slot_that_was_empty_before_a_failed_reload_is_empty_after_it() -> None:
    cluster = Cluster(workers=2)
    cluster.wanted.closed(1)
    cluster.begin(Reload())
    assert cluster.fail(1)
    assert cluster.wanted.may_start == {1: math.inf}
    assert cluster.wanted.restarts == 0


def test_an_agent_that_fails_in_a_reload_is_tried_again_like_one_that_ended() -> None:
    cluster = Cluster(agents=("a",))
    cluster.begin(Reload())
    assert cluster.fail("a")
    assert cluster.wanted.restarts == 1
    assert cluster.wanted.may_start == {"a": 100.0}


# ---- unexpected ends


def test_each_slot_waits_by_itself() -> None:
    cluster = Cluster(workers=2, backoff=(1.0, 60.0))
    for now, slot in ((10.0, 0), (10.0, 1), (20.0, 0), (30.0, 0)):
        cluster.wanted.ended(slot, now, 0.5)
    assert cluster.wanted.may_start == {0: 32.0, 1: 11.0}  # the third time in slot 0: twice as long
    assert cluster.wanted.restarts == 4
    cluster.wanted.accepted(0)
    assert cluster.wanted.may_start == {1: 11.0}


def test_with_too_many_ends_no_slot_is_filled_but_by_a_reload() -> None:
    cluster = Cluster(workers=2, limit=1)
    cluster.wanted.ended(0, 10.0, 0.5)
    assert not cluster.wanted.is_given_up
    cluster.wanted.ended(0, 11.0, 0.5)
    assert cluster.wanted.is_given_up
    cluster.wanted.ended(1, 1e9, 0.5)  # long after
    assert cluster.wanted.may_start == {0: math.inf, 1: math.inf}
    assert cluster.wanted.restarts == 1
    cluster.begin(Reload())
    assert cluster.wanted.may_start == {}


# ---- the end


@pytest.mark.parametrize("begun", [False, True])
def test_a_stop_gives_up_what_was_asked_for(begun: bool) -> None:
    cluster = Cluster(workers=1)
    requests = [Reload(), Scale(workers=3)]
    for request in requests:
        cluster.wanted.ask(request)
    if begun:
        cluster.wanted.begin()
    assert cluster.wanted.stop(graceful=True) == requests
    assert cluster.wanted.want.slots == ()
    assert cluster.wanted.want.stop == "gracefully"
    assert cluster.wanted.begin() is None
    assert cluster.wanted.finish([]) is None
    assert cluster.wanted.stop(graceful=True) == []


def test_a_stop_at_once_is_not_taken_back() -> None:
    wanted = Cluster(workers=1).wanted
    wanted.stop(graceful=True)
    wanted.stop(graceful=False)
    assert wanted.want.stop == "at once"
    wanted.stop(graceful=True)
    assert wanted.want.stop == "at once"


def test_requests_that_are_given_up_change_nothing_more() -> None:
    cluster = Cluster(workers=1)
    scaling = Scale(workers=2)
    cluster.begin(scaling)
    reload = Reload()
    cluster.wanted.ask(reload)
    assert cluster.wanted.give_up_requests() == [scaling, reload]
    assert cluster.wanted.give_up_requests() == []
    assert cluster.wanted.want.stop is None
    assert cluster.wanted.want.workers == (0, 1)
    assert not cluster.fail(1)  # as a worker that ended later: it is tried again
    assert cluster.wanted.may_start[1] >= 100.0


# ---- load


def ranging(low: int = 1, high: int = 4, **policy: Any) -> Cluster:
    """A cluster whose lower number of workers run."""
    cluster = Cluster(**policy)
    cluster.do(Scale(workers=(low, high)))
    return cluster


def grow(cluster: Cluster, by: int) -> tuple[int, ...]:
    cluster.wanted.follow_load(by)
    return cluster.wanted.want.workers


def test_the_lower_number_is_started_and_the_load_decides_the_rest() -> None:
    cluster = ranging(2, 4)
    assert cluster.wanted.want.workers == (0, 1)
    assert cluster.wanted.bounds == (2, 4)
    assert cluster.wanted.may_follow_load(0.0)
    assert grow(cluster, 1) == (0, 1, 2)
    assert grow(cluster, 9) == (0, 1, 2, 3)
    assert cluster.wanted.growth.slots == {2, 3}
    assert grow(cluster, -1) == (0, 1, 2)
    assert grow(cluster, -9) == (0, 1)
    assert not cluster.wanted.growth.slots


def test_the_load_decides_nothing_while_anything_else_does() -> None:
    assert not Cluster(workers=2).wanted.may_follow_load(100.0)
    cluster = ranging()
    cluster.wanted.ask(Reload())
    assert not cluster.wanted.may_follow_load(100.0)
    cluster.wanted.begin()
    assert not cluster.wanted.may_follow_load(100.0)
    cluster.fill(0)
    cluster.wanted.finish(cluster.seen.values())
    assert cluster.wanted.may_follow_load(100.0)
    cluster.wanted.stop(graceful=True)
    assert not cluster.wanted.may_follow_load(100.0)


def test_no_growth_while_workers_crash() -> None:
    cluster = ranging(limit=1, backoff=(1.0, 5.0))
    cluster.wanted.ended(0, 100.0, 0.5)
    assert not cluster.wanted.may_follow_load(101.5)
    cluster.fill(0)
    assert not cluster.wanted.may_follow_load(104.9)
    assert cluster.wanted.may_follow_load(105.1)
    cluster.wanted.ended(0, 110.0, 0.5)
    assert cluster.wanted.is_given_up
    assert not cluster.wanted.may_follow_load(1e9)


@pytest.mark.parametrize("how", ["failed", "lacked", "ended"])
def test_an_added_one_that_fails_is_nobodys_failure(how: str) -> None:
    cluster = ranging(limit=0)
    now, waits = 100.0, []
    for _ in range(8):
        grow(cluster, 2)
        if how == "failed":
            assert not cluster.fail(1)
        elif how == "lacked":
            assert not cluster.wanted.lacked(cluster.process(1), WHY, 100.0, 0.5)
        else:
            cluster.fill(1)
            cluster.wanted.ended(1, 100.0, 0.5)
        assert cluster.wanted.want.workers == (0, 2)
        assert (cluster.wanted.may_start, cluster.wanted.shortages, cluster.wanted.restarts) == ({}, {}, 0)
        grow(cluster, -1)
        waits.append(next(wait for wait in range(99) if cluster.wanted.may_follow_load(now + wait)))
    assert not cluster.wanted.is_given_up
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    grow(cluster, 1)
    cluster.wanted.growth.serves(1)
    assert cluster.wanted.growth.failures == 0


def test_one_that_has_served_is_like_the_others() -> None:
    cluster = ranging()
    grow(cluster, 1)
    cluster.fill(1)
    cluster.wanted.growth.serves(1)
    cluster.wanted.ended(1, 100.0, 0.5)
    assert cluster.wanted.want.workers == (0, 1)
    assert cluster.wanted.restarts == 1


def test_a_request_does_not_wait_for_those_that_the_load_has_added() -> None:
    cluster = ranging(2, 4)
    grow(cluster, 1)
    cluster.seen[2] = cluster.process(2)
    request = Scale(workers=(2, 3))
    cluster.begin(request)
    assert cluster.wanted.finish(cluster.seen.values()) is request
    assert cluster.wanted.want.workers == (0, 1, 2)


def test_a_request_that_needs_them_waits_and_fails_with_them() -> None:
    cluster = ranging(2, 4)
    grow(cluster, 2)
    request = Scale(workers=(3, 4))
    cluster.begin(request)
    assert cluster.wanted.growth.slots == {3}
    assert cluster.wanted.finish(cluster.seen.values()) is None
    assert not cluster.fail(3)
    assert cluster.fail(2)
    assert request.error is WHY
    assert cluster.wanted.bounds == (2, 4)
    assert cluster.wanted.want.workers == (0, 1)


def test_an_added_one_that_fails_in_a_reload_does_not_end_it() -> None:
    cluster = ranging()
    grow(cluster, 1)
    cluster.begin(Reload())
    assert not cluster.fail(1, generation=0)
    assert cluster.wanted.want.workers == (0,)
    cluster.fill(0)
    finished = cluster.wanted.finish(cluster.seen.values())
    assert finished is not None
    assert finished.error is None


@pytest.mark.parametrize(
    ("bounds", "scale", "workers"),
    [
        ((1, 4), 2, (0, 1)),
        ((1, 4), 3, (0, 1, 2)),
        ((1, 4), (4, 6), (0, 1, 2, 3)),
        ((1, 4), (1, 2), (0, 1)),
        ((1, 4), (2, 9), (0, 1, 2)),
    ],
)
def test_scaling_keeps_as_many_as_the_bounds_allow(
    bounds: tuple[int, int], scale: int | tuple[int, int], workers: tuple[int, ...]
) -> None:
    cluster = ranging(*bounds)
    grow(cluster, 2)
    cluster.fill(1)
    cluster.fill(2)
    cluster.do(Scale(workers=scale))
    assert cluster.wanted.want.workers == workers


@pytest.mark.parametrize(
    ("before", "scale", "filled", "after"),
    [
        (1, 3, [1], (2, 2)),
        (1, 3, [], (1, 1)),
        ((1, 2), 4, [1, 2], (1, 3)),
        ((2, 8), 4, [2], (2, 8)),
        (2, (4, 8), [2], (3, 3)),
    ],
)
def test_the_bounds_after_a_scaling_that_failed(
    before: int | tuple[int, int], scale: int | tuple[int, int], filled: list[int], after: tuple[int, int]
) -> None:
    cluster = Cluster()
    cluster.do(Scale(workers=before))
    cluster.begin(Scale(workers=scale))
    for slot in filled:
        cluster.fill(slot)
    assert cluster.fail(len(cluster.wanted.want.workers) - 1)
    assert cluster.wanted.bounds == after


def test_bounds_move_together_but_not_below_1() -> None:
    assert Bounds(2, 8).moved(1) == (3, 9)
    assert Bounds(2, 8).moved(-1).moved(-1) == (1, 6)
    assert Bounds(1, 1).moved(-1) == (1, 1)


def test_a_slot_whose_worker_has_left_by_its_own_choice_is_counted() -> None:
    cluster = ranging(2, 4)
    cluster.wanted.closed(1)
    assert cluster.wanted.left == 1
    assert cluster.wanted.may_follow_load(0.0)
    grow(cluster, 1)
    cluster.wanted.closed(2)
    assert not cluster.wanted.growth.slots


# ---- other settings


def test_another_policy_counts_from_the_next_end_on_and_knows_the_ends_before() -> None:
    cluster = Cluster(workers=2)
    for _ in range(2):
        cluster.wanted.ended(0, 100.0, 0.5)
        cluster.fill(0)
    cluster.wanted.setup(RestartPolicy(limit=2), 10.0, develops=False)
    assert not cluster.wanted.is_given_up
    cluster.wanted.ended(1, 101.0, 0.5)
    assert cluster.wanted.is_given_up


def test_from_no_policy_to_one_and_back() -> None:
    cluster = Cluster(workers=2)
    cluster.wanted.setup(None, 10.0, develops=False)
    cluster.wanted.ended(0, 100.0, 0.5)
    assert cluster.wanted.closed_slots == {0}
    cluster.wanted.setup(RestartPolicy(), 10.0, develops=False)
    cluster.wanted.ended(1, 100.0, 0.5)
    assert cluster.wanted.closed_slots == {0}, "a slot that is closed stays so until a reload"
    assert cluster.wanted.may_start[1] == 100.0


def test_another_start_timeout_and_what_a_reload_does() -> None:
    cluster = Cluster(workers=1)
    cluster.wanted.setup(RestartPolicy(), 3.0, develops=True)
    assert (cluster.wanted.want.start_timeout, cluster.wanted.want.swaps) == (3.0, True)
    assert cluster.wanted.want.workers == (0,)
