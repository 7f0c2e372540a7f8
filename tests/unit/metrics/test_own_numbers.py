"""aiocluster's own families: over a worker's end and a reload, no counter goes down."""

from __future__ import annotations

from dataclasses import replace

from aiocluster._metrics.family import Labels
from aiocluster._primary.ports.waits import BOUNDS, Waits
from aiocluster._supervise.own_numbers import Counts, own_families
from aiocluster.address import Address
from aiocluster.stats import ClusterStats, PortStats, WorkerStats

WORKER = WorkerStats(
    id=1,
    slot=0,
    pid=100,
    name=None,
    state="listening",
    connections=2,
    accepted=7,
    returned=0,
    redispatched=0,
    calls=0,
    loop_delay=0.25,
    busy=0.5,
    memory=1000,
    tasks=3,
    age=1.0,
    messages=4,
)
AGENT = replace(WORKER, id=2, slot=None, name="cron", busy=None, state="online")


def numbers(*workers: WorkerStats, counts: Counts | None = None) -> dict[tuple[str, Labels], float]:
    port = PortStats(Address("tcp4", "127.0.0.1", 80), "fair", 9, 3)
    stats = ClusterStats(workers, (port,), 0, (1, 4))
    families = own_families(stats, counts or Counts(), Waits(), 1, {"0": 0.5})
    return {(sample.name, sample.labels): sample.value for family in families for sample in family.samples}


def test_by_slot_and_by_an_agents_name() -> None:
    found = numbers(WORKER, AGENT)
    assert found["aiocluster_connections", (("slot", "0"),)] == 2
    assert found["aiocluster_connections", (("slot", "cron"),)] == 2
    assert found["aiocluster_loop_busy_ratio", (("slot", "0"),)] == 0.5
    assert ("aiocluster_loop_busy_ratio", (("slot", "cron"),)) not in found
    assert found["aiocluster_workers", (("state", "listening"),)] == 1
    assert found["aiocluster_workers", (("state", "failed"),)] == 0
    assert found["aiocluster_connections_waiting", ()] == 3
    assert found["aiocluster_workers_wanted", (("bound", "high"),)] == 4


def test_what_ended_workers_have_counted_stays() -> None:
    counts = Counts()
    before = numbers(WORKER, AGENT, counts=counts)
    counts.ended(WORKER, "killed", 2)
    counts.ended(AGENT, "told", 0)
    after = numbers(replace(WORKER, id=3, accepted=1, messages=0), counts=counts)
    for name in ("aiocluster_connections_taken_total", "aiocluster_messages_total"):
        for slot in ("0", "cron"):
            assert after[name, (("slot", slot),)] >= before[name, (("slot", slot),)]
    assert after["aiocluster_connections_taken_total", (("slot", "0"),)] == 8
    assert after["aiocluster_undelivered_total", ()] == 3
    assert after["aiocluster_restarts_total", (("reason", "killed"),)] == 1
    assert sum(value for (name, _), value in after.items() if name == "aiocluster_restarts_total") == 1


def test_two_in_a_slot_are_added() -> None:
    found = numbers(WORKER, replace(WORKER, id=2, busy=0.1))
    assert found["aiocluster_memory_bytes", (("slot", "0"),)] == 2000
    assert found["aiocluster_loop_busy_ratio", (("slot", "0"),)] == 0.5


def test_what_is_not_known_yet_is_left_out() -> None:
    started = replace(WORKER, id=2, state="starting", memory=0, tasks=0, loop_delay=0.0)
    alone = numbers(started)
    for name, value in {"memory_bytes": 1000, "tasks": 3, "loop_delay_seconds": 0.25}.items():
        series = f"aiocluster_{name}", (("slot", "0"),)
        assert numbers(WORKER, started)[series] == value
        assert series not in alone


def test_waits_are_counted_up_to_their_bound() -> None:
    waits = Waits()
    waits.add(BOUNDS[0])
    waits.add(0.02, 3)
    waits.add(60.0)
    below = dict(waits.cumulated())
    assert (below[BOUNDS[0]], below[0.01], below[0.025], below[10.0], below[None]) == (1, 1, 4, 4, 5)
    assert waits.seconds == BOUNDS[0] + 0.06 + 60.0
