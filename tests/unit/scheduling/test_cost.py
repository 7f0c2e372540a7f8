"""What a pick costs, with few workers and with many."""

from __future__ import annotations

import collections
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from aiocluster.scheduling import Peeking, Policy
from aiocluster.scheduling._registry import POLICIES

from .candidates import CLIENT, Worker


def cost(policy: Policy[Worker], workers: list[Worker], clients: list[Any]) -> float:
    """Seconds of processor time for these connections: each is picked for, and another one ends."""
    pick: Callable[[Any], Worker] = policy.pick
    if isinstance(policy, Peeking):
        pick = lambda first: policy.pick_by(CLIENT, first)  # noqa: E731
    ending = collections.deque(worker for worker in workers if worker.connections)
    busy = 0.0
    start = time.thread_time()
    for client in clients:
        worker = pick(client)
        worker.connections += 1
        policy.changed(worker)
        ending.append(worker)
        worker = ending.popleft()
        worker.connections -= 1
        worker.busy = busy = (busy + 0.17) % 1.0  # far more reports than come in truth
        policy.changed(worker)
    return time.thread_time() - start


@pytest.mark.parametrize("name", POLICIES)
def test_a_pick_among_256_costs_no_more_than_two_among_4(name: str) -> None:
    clients: list[Any] = [(f"10.1.{number >> 8}.{number & 255}", 50000) for number in range(1000)]
    if name == "url_hash":
        clients = [b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number for number in range(1000)]
    crews: list[tuple[Policy[Worker], list[Worker]]] = []
    for count in (4, 256):
        policy = POLICIES[name]()
        workers = [Worker(slot, 1 + slot % 4, slot % 3, 0.001 * (slot % 8)) for slot in range(count)]
        for worker in workers:
            policy.add(worker)
        crews.append((policy, workers))
    ratios: list[float] = []
    for _ in range(21):
        few, many = (cost(*one, clients) for one in crews)
        ratios.append(many / few)
    assert statistics.median(ratios) <= 2.0
