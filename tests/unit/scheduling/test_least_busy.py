"""The worker that has the least to do."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aiocluster.scheduling import LeastBusy

from .candidates import CLIENT, Worker, fill, shares


def crew(policy: LeastBusy[Worker], *known: tuple[int, float | None]) -> list[Worker]:
    """Workers with these connections and busy shares."""
    workers = [Worker(slot, connections=connections, busy=busy) for slot, (connections, busy) in enumerate(known)]
    for worker in workers:
        policy.add(worker)
    return workers


def placed(policy: LeastBusy[Worker], count: int) -> Counter[int]:
    """Where so many connections go, that stay."""
    slots: Counter[int] = Counter()
    for _ in range(count):
        worker = policy.pick(CLIENT)
        worker.connections += 1
        policy.changed(worker)
        slots[worker.slot] += 1
    return slots


def report(policy: LeastBusy[Worker], *busy: tuple[Worker, float | None]) -> None:
    """Some reports of each worker. No two are quite the same."""
    for number in range(3):
        for worker, share in busy:
            worker.busy = None if share is None else share + 1e-9 * number * (1 - share)
            policy.changed(worker)


@given(st.integers(1, 9), st.integers(1, 30), st.lists(st.floats(0.4, 0.6), min_size=9, max_size=9))
def test_equal_workers_get_exactly_as_many(count: int, each: int, busy: list[float]) -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    workers = fill(policy, *[1] * count)
    report(policy, *zip(workers, busy, strict=False))  # that is noise
    assert placed(policy, each * count) == dict.fromkeys(range(count), each)


def test_those_that_tell_nothing_are_equal() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    fill(policy, 1, 1, 1, 1)
    assert shares(policy, 40) == {0: 10, 1: 10, 2: 10, 3: 10}


def test_a_busy_worker_gets_none_while_others_are_idle() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    workers = crew(policy, *[(10, 0.0)] * 4)
    report(policy, (workers[0], 0.8), *((worker, 0.02) for worker in workers[1:]))
    assert placed(policy, 12) == {1: 4, 2: 4, 3: 4}


def test_an_idle_one_gets_most_while_others_are_busy() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    workers = crew(policy, *[(10, 0.0)] * 4)
    report(policy, (workers[0], 0.1), *((worker, 0.9) for worker in workers[1:]))
    slots = placed(policy, 12)
    assert slots[0] == 12
    assert placed(policy, 60)[1] > 0  # but not for ever: shares are old, connections are not


def test_fewer_connections_count_for_less_if_they_are_busy() -> None:
    """Ten that keep a worker busy for 80 % of the time, and thirty that hardly do."""
    policy: LeastBusy[Worker] = LeastBusy()
    workers = crew(policy, (10, 0.0), (30, 0.0), (30, 0.0), (30, 0.0))
    report(policy, (workers[0], 0.8), *((worker, 0.05) for worker in workers[1:]))
    assert placed(policy, 12) == {1: 4, 2: 4, 3: 4}


def test_without_a_difference_the_fewest_connections_count() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    crew(policy, (3, 0.2), (0, 0.3), (1, 0.1))
    assert placed(policy, 5) == {1: 3, 2: 2}


def test_a_worker_that_is_always_busy_gets_some_of_very_many() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    blocked, other = fill(policy, 1, 1)
    report(policy, (blocked, 1.0), (other, 0.0))
    assert placed(policy, 100)[blocked.slot] > 0


def test_no_difference_any_more() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    first, second = fill(policy, 1, 1)
    report(policy, (first, 1.0), (second, 0.0))
    report(policy, (first, 0.0), (second, 0.0))
    assert placed(policy, 10) == {0: 5, 1: 5}


def test_what_a_worker_reports_while_it_is_away_counts() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    first, second = fill(policy, 1, 1)
    policy.remove(first)
    report(policy, (first, 1.0), (second, 0.0))
    policy.add(first)
    assert placed(policy, 10) == {1: 10}


def test_one_that_is_gone_is_not_in_the_mean() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    workers = crew(policy, *[(0, 1.0)] * 3, (0, 0.4), (0, 0.4))
    for worker in workers[:3]:
        policy.remove(worker)
        policy.forget(worker)
    report(policy, *((worker, 0.5) for worker in workers[3:]))
    assert placed(policy, 10) == {3: 5, 4: 5}


def test_weights_count() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    workers = fill(policy, 1, 2, 5)
    assert placed(policy, 80) == {0: 10, 1: 20, 2: 50}
    report(policy, (workers[2], 0.9), *((worker, 0.1) for worker in workers[:2]))
    assert placed(policy, 9) == {0: 3, 1: 6}


def test_a_worker_with_one_fewer_is_awaited_unless_it_is_busier() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    first, *others = crew(policy, (9, 0.0), (10, 0.0), (10, 0.0))
    policy.remove(first)
    assert list(policy.awaited()) == [first]
    report(policy, (first, 0.9), *((worker, 0.1) for worker in others))
    assert list(policy.awaited()) == []


def test_workers_take_turns_in_whatever_order_short_connections_end() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    workers = fill(policy, 1, 1, 1)
    for turn in range(30):
        worker = policy.pick(CLIENT)
        assert worker is workers[turn % 3]
        worker.connections = int(turn % 4 == 0)  # some are said to be closed later than others
        for one in workers:
            policy.changed(one)


def test_who_is_not_ready_has_no_turn_with_more_than_others() -> None:
    policy: LeastBusy[Worker] = LeastBusy()
    first, second = fill(policy, 1, 1)
    assert policy.pick(CLIENT) is first
    policy.attach(lambda worker: worker is not first)
    first.connections = 1
    for _ in range(5):
        assert policy.pick(CLIENT) is second
        policy.changed(second)
