"""The worker with the least load."""

from __future__ import annotations

from aiocluster.scheduling import LeastConnections

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
