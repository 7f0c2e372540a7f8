"""Is the cluster ready? Processes and times in, an answer out."""

from __future__ import annotations

import math

import pytest

from aiocluster._supervise.plan import Seen, Slot
from aiocluster._supervise.readiness import Readiness


def worker(slot: Slot, *, ports: int = 0, id: int = 0, online: float | None = 0.0) -> Seen:
    """A worker that has been online since then."""
    return Seen(id=id, slot=slot, ports=ports, is_forked=True, is_online=online is not None, since=online or 0.0)


def test_ready_once_each_slot_listens() -> None:
    readiness = Readiness(patience=30.0)
    first, second = worker(0), worker(1, online=None)
    readiness.look(2, [first, second], 0.0)
    assert (readiness.is_ready, readiness.missing) == (False, 2)
    first.ports = 1
    readiness.look(2, [first, second], 1.0)
    assert (readiness.is_ready, readiness.missing) == (False, 1)
    second.is_online, second.since = True, 2.0
    readiness.look(2, [first, second], 1e9)  # it has not listened, and others have: no time makes up for that
    assert not readiness.is_ready
    second.ports = 1
    readiness.look(2, [first, second], 3.0)
    assert (readiness.is_ready, readiness.serving) == (True, 2)


def test_one_that_listens_before_it_is_online_does_not_serve_yet() -> None:
    readiness = Readiness(patience=30.0)
    readiness.look(1, [worker(0, ports=1, online=None)], 0.0)
    assert not readiness.is_ready


def test_each_slot_needs_to_have_served_only_once() -> None:
    readiness = Readiness(patience=30.0)
    readiness.look(2, [worker(0, ports=1)], 0.0)
    readiness.look(2, [worker(1, ports=1)], 1.0)  # that of slot 0 has crashed
    assert readiness.is_ready


def test_workers_without_ports_have_a_time_to_open_one() -> None:
    readiness = Readiness(patience=30.0)
    workers = [worker(0, online=5.0), worker(1, online=7.0)]
    assert readiness.look(2, workers, 10.0) == 35.0
    assert readiness.look(2, workers, 35.0) == 37.0
    assert not readiness.is_ready
    assert readiness.look(2, workers, 37.0) == math.inf
    assert (readiness.is_ready, readiness.serving) == (True, 2)
    readiness.look(2, [worker(0, id=3, online=100.0)], 100.0)  # it is known by now that they open none
    assert readiness.is_ready


@pytest.mark.parametrize("change", ["is_leaving", "is_failed", "is_gone", "is_told"])
def test_it_lasts_while_one_serves(change: str) -> None:
    readiness = Readiness(patience=30.0)
    old, other, new = worker(0, ports=1), worker(1, ports=1), worker(0, id=2, ports=1)
    readiness.look(2, [old, other], 0.0)
    setattr(old, change, True)
    readiness.look(2, [old, other], 1.0)
    assert (readiness.is_ready, readiness.serving) == (True, 1)
    setattr(other, change, True)
    readiness.look(2, [old, other], 2.0)
    assert (readiness.is_up, readiness.is_ready) == (True, False)
    readiness.look(2, [old, other, new], 3.0)
    assert readiness.is_ready


def test_two_of_one_slot_count_as_one() -> None:
    readiness = Readiness(patience=30.0)
    readiness.look(2, [worker(0, ports=1), worker(0, id=1, ports=1)], 0.0)
    assert (readiness.is_ready, readiness.serving, readiness.missing) == (False, 1, 1)


def test_scaling_up_changes_nothing_once_it_is_up() -> None:
    readiness = Readiness(patience=30.0)
    readiness.look(1, [worker(0, ports=1)], 0.0)
    readiness.look(4, [worker(0, ports=1)], 1.0)
    assert readiness.is_ready


def test_scaling_down_before_it_is_up_asks_for_fewer() -> None:
    readiness = Readiness(patience=30.0)
    readiness.look(2, [worker(0, ports=1), worker(1, online=None)], 0.0)
    readiness.look(1, [worker(0, ports=1)], 1.0)
    assert readiness.is_ready


def test_slots_beyond_the_lower_bound_are_not_waited_for() -> None:
    readiness = Readiness(patience=30.0)
    readiness.look(1, [worker(0, ports=1), worker(1, online=None)], 0.0)
    assert readiness.is_ready


def test_not_ready_before_workers_are_wanted() -> None:
    readiness = Readiness(patience=0.0)
    readiness.look(0, [worker("agent", ports=1)], 0.0)
    assert not readiness.is_ready


def test_neither_agents_nor_strangers_count() -> None:
    readiness = Readiness(patience=0.0)
    readiness.look(1, [worker("agent", ports=1), worker(-1, ports=1)], 10.0)
    assert not readiness.is_ready
    readiness.look(1, [worker("agent", ports=1), worker(0)], 10.0)  # an agent's port is not the workers'
    assert readiness.is_ready
