"""What every policy keeps."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiocluster.scheduling import Peeking
from aiocluster.scheduling._registry import POLICIES

from .candidates import CLIENT, Worker, fill

Step = tuple[str, int, int, float, float | None]

steps = st.tuples(
    st.sampled_from(["toggle", "toggle", "forget", "change", "pick", "pick"]),
    st.integers(0, 7),
    st.integers(0, 9),
    st.sampled_from([0.0, 0.001, 0.1, 5.0]),
    st.sampled_from([None, 0.0, 0.5, 1.0]),
)


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None)  # a table of hashes takes some milliseconds for each new slot
@given(steps=st.lists(steps, max_size=60))
def test_only_workers_that_are_here_are_picked(
    name: str, steps: list[tuple[str, int, int, float, float | None]]
) -> None:
    policy = POLICIES[name]()
    workers = [Worker(place % 5, 1 + place % 3) for place in range(8)]  # some slots twice, as during a reload
    here: set[Worker] = set()
    for step, place, connections, delay, busy in steps:
        worker = workers[place]
        if step == "toggle" and worker in here:
            here.remove(worker)
            policy.remove(worker)
        elif step == "toggle":
            here.add(worker)
            policy.add(worker)
        elif step == "forget" and worker in here:
            here.remove(worker)
            policy.remove(worker)
            policy.forget(worker)
        elif step == "change":
            worker.connections, worker.delay, worker.busy = connections, delay, busy
            policy.changed(worker)
        elif step == "pick" and here:
            assert policy.pick((f"10.0.{place}.{connections}", 50000)) in here


@pytest.mark.parametrize("name", POLICIES)
def test_nothing_is_kept_of_one_that_was_forgotten(name: str) -> None:
    policy = POLICIES[name]()
    fill(policy, 1, 1)
    worker = Worker(2)
    policy.add(worker)
    policy.remove(worker)
    policy.forget(worker)
    policy.changed(worker)
    gone = weakref.ref(worker)
    del worker
    gc.collect()
    assert gone() is None


def test_a_connection_of_which_nothing_was_seen_is_picked_for_with_no_bytes() -> None:
    class Recording(Peeking[Worker]):
        def __init__(self) -> None:
            self.asked: list[tuple[Any, bytes]] = []

        def add(self, worker: Worker) -> None:
            self.worker = worker

        def remove(self, worker: Worker) -> None: ...

        def has_enough(self, first: bytes) -> bool:
            return True

        def pick_by(self, client: Any, first: bytes) -> Worker:
            self.asked.append((client, first))
            return self.worker

    policy = Recording()
    (worker,) = fill(policy, 1)
    assert policy.pick(CLIENT) is worker
    assert policy.asked == [(CLIENT, b"")]
