"""The worker with the least load."""

from __future__ import annotations

from aiocluster.scheduling import LeastConnections
from aiocluster.scheduling._least import Least

from .candidates import CLIENT, Worker, fill, shares


def test_a_batch_is_spread_although_nobody_tells_of_changes() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    fill(policy, 1, 1, 1, 1)
    assert shares(policy, 40) == {0: 10, 1: 10, 2: 10, 3: 10}


def test_idle_workers_take_turns() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    fill(policy, 1, 1, 1)
    got = []
    for _ in range(6):
        worker = policy.pick(CLIENT)
        got.append(worker.slot)
        policy.changed(worker)  # its connection has ended already
    assert got == [0, 1, 2, 0, 1, 2]


def test_a_change_counts_while_it_is_away() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    first, second = fill(policy, 1, 1)
    policy.remove(first)
    first.connections = 3
    policy.changed(first)
    policy.add(first)
    assert [policy.pick(CLIENT) for _ in range(3)] == [second, second, second]


def test_the_heap_of_loads_does_not_grow_with_time() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    _, busy = fill(policy, 1, 1)
    for number in range(10_000):
        busy.connections = number % 100 + 1
        policy.changed(busy)
    assert len(policy._loads) < 100


def test_connections_that_end_count_at_once() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    first, second = (Worker(slot, 1, 5) for slot in range(2))
    for worker in (first, second):
        policy.add(worker)
    second.connections = 2
    policy.changed(second)
    assert [policy.pick(CLIENT) for _ in range(4)] == [second, second, second, first]


def test_more_connections_count_although_the_load_is_the_same() -> None:
    """A load that goes by steps, as a delay does: who has the same load has not the same connections."""

    class ByTens(Least[Worker]):
        def _load(self, worker: Worker, connections: int) -> float:
            return connections // 10

    policy = ByTens()
    first, second = fill(policy, 1, 1)
    first.connections = 9
    policy.changed(first)
    assert [policy.pick(CLIENT) for _ in range(11)] == [first, *[second] * 10]


def test_of_equals_the_one_that_has_waited_longest_is_next() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    first, second, third = fill(policy, 1, 1, 1)
    first.connections = 1
    policy.changed(first)
    first.connections = 0
    policy.changed(first)
    policy.changed(second)  # nothing is new
    assert [policy.pick(CLIENT) for _ in range(3)] == [second, third, first]


def test_a_worker_that_is_unknown_may_change() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    (first,) = fill(policy, 1)
    policy.changed(Worker(1))
    assert policy.pick(CLIENT) is first


def test_the_heap_of_loads_is_not_much_larger_than_the_buckets() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    workers = fill(policy, *[1] * 40)
    for number in range(5000):
        worker = workers[number % 40]
        worker.connections = number * 7 % 1000
        policy.changed(worker)
        assert len(policy._loads) <= 2 * len(policy._buckets) + 32
