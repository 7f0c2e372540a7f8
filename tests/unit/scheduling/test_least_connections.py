"""The worker with the fewest connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiocluster.scheduling import LeastConnections

from .candidates import CLIENT, Worker, fill, shares


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 60))
def test_the_fewest_connections_first(connections: list[int], count: int) -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    workers = [Worker(slot, 1, number) for slot, number in enumerate(connections)]
    for worker in workers:
        policy.add(worker)
    for _ in range(count):
        fewest = min(worker.connections for worker in workers)
        worker = policy.pick(CLIENT)
        assert worker.connections == fewest
        worker.connections += 1
        policy.changed(worker)


def test_a_double_weight_has_twice_as_many_connections() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    fill(policy, 1, 2, 5)
    assert shares(policy, 80) == {0: 10, 1: 20, 2: 50}
