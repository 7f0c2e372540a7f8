"""The worker that has been fastest."""

from __future__ import annotations

from aiocluster.scheduling import Fair

from .candidates import CLIENT, Worker, fill, shares


def test_the_quickest_gets_most() -> None:
    policy: Fair[Worker] = Fair()
    slow, quick = fill(policy, 1, 1)
    slow.delay, quick.delay = 0.180, 0.011  # sixteen times as slow
    for worker in (slow, quick):
        policy.changed(worker)
    assert shares(policy, 50) == {0: 10, 1: 40}


def test_between_two_reports_not_all_go_to_the_quickest() -> None:
    policy: Fair[Worker] = Fair()
    workers = fill(policy, 1, 1, 1, 1)
    for worker, delay in zip(workers, (0.017, 0.020, 0.030, 0.068), strict=True):
        worker.delay = delay
        policy.changed(worker)
    assert shares(policy, 70) == {0: 20, 1: 20, 2: 20, 3: 10}


def test_where_nothing_is_known_fair_is_even() -> None:
    policy: Fair[Worker] = Fair()
    fill(policy, 1, 1, 1)
    assert shares(policy, 30) == {0: 10, 1: 10, 2: 10}


def test_a_new_delay_counts_at_once() -> None:
    policy: Fair[Worker] = Fair()
    first, second = fill(policy, 1, 1)
    first.delay = 1.0
    policy.changed(first)
    assert shares(policy, 10) == {1: 10}
    first.delay = 0.0
    policy.changed(first)
    assert policy.pick(CLIENT) is first
    second.delay = 1.0
    policy.changed(second)
    assert shares(policy, 9) == {0: 9}


def test_weights_count() -> None:
    policy: Fair[Worker] = Fair()
    fill(policy, 1, 2, 5)
    assert shares(policy, 80) == {0: 10, 1: 20, 2: 50}


def test_delays_below_4_ms_are_all_the_same() -> None:
    policy: Fair[Worker] = Fair()
    first, second = fill(policy, 1, 1)
    first.delay, second.delay = 0.0039, 0.0
    for worker in (first, second):
        policy.changed(worker)
    assert shares(policy, 20) == {0: 10, 1: 10}
