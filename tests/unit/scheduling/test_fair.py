"""The worker that has been fastest."""

from __future__ import annotations

from aiocluster.scheduling import Fair

from .candidates import Worker, fill, shares


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
