"""Which slot a key belongs to."""

from __future__ import annotations

import collections
import statistics

import pytest

from aiocluster.scheduling import IpHash, Policy
from aiocluster.scheduling._slot_table import SlotTable, _mixed

from .candidates import Worker, fill

CLIENTS = [(f"10.{number >> 12}.{number >> 4 & 255}.{number & 15}", 40000 + number) for number in range(20_000)]


def map_of(policy: Policy[Worker]) -> list[int]:
    return [policy.pick(client).slot for client in CLIENTS]


def moved(before: list[int], after: list[int]) -> float:
    return sum(a != b for a, b in zip(before, after, strict=True)) / len(before)


@pytest.mark.parametrize("count", [2, 4, 7, 16, 64])
def test_a_worker_that_comes_or_goes_moves_one_nth(count: int) -> None:
    policy: IpHash[Worker] = IpHash()
    workers = fill(policy, *[1] * count)
    before = map_of(policy)
    one_more = Worker(count)
    policy.add(one_more)
    after = map_of(policy)
    assert moved(before, after) <= 1.25 / count
    assert {slot for slot, old in zip(after, before, strict=True) if slot != old} == {count}
    policy.remove(one_more)
    assert map_of(policy) == before
    policy.remove(workers[0])
    without = map_of(policy)
    assert all(old in (0, new) for old, new in zip(before, without, strict=True))
    policy.add(workers[0])
    assert map_of(policy) == before


def test_a_replacement_inherits_the_addresses() -> None:
    policy: IpHash[Worker] = IpHash()
    workers = fill(policy, 1, 1, 1, 1)
    before = map_of(policy)
    policy.remove(workers[2])
    policy.add(Worker(2))
    assert map_of(policy) == before


def test_during_a_reload_the_new_one_of_a_slot_gets_its_addresses() -> None:
    policy: IpHash[Worker] = IpHash()
    old, *_ = fill(policy, 1, 1, 1)
    client = next(client for client in CLIENTS if policy.pick(client) is old)
    new = Worker(0)
    policy.add(new)
    assert policy.pick(client) is new
    policy.remove(old)
    assert policy.pick(client) is new


@pytest.mark.parametrize("count", [4, 16, 256])
def test_addresses_are_spread(count: int) -> None:
    policy: IpHash[Worker] = IpHash()
    fill(policy, *[1] * count)
    got = collections.Counter(map_of(policy))
    assert len(got) == count
    assert max(got.values()) <= (1.1 if count == 4 else 1.3 if count == 16 else 2.0) * len(CLIENTS) / count


def test_most_workers_away_is_no_trouble() -> None:
    policy: IpHash[Worker] = IpHash()
    workers = fill(policy, *[1] * 32)
    before = map_of(policy)
    for worker in workers[2:]:
        policy.remove(worker)
    assert set(map_of(policy)) == {0, 1}
    for worker in workers[2:]:
        policy.add(worker)
    assert map_of(policy) == before


def test_slots_that_are_long_gone_are_forgotten() -> None:
    policy: IpHash[Worker] = IpHash()
    first = Worker(0)
    policy.add(first)
    for slot in range(1, 50):
        worker = Worker(slot)
        policy.add(worker)
        policy.remove(worker)
    policy.add(Worker(50))
    assert len(policy._table._known) < 25
    assert 0.4 < statistics.mean(slot == 0 for slot in map_of(policy)) < 0.6


def splitmix64(state: int) -> int:
    """The generator of Steele, Lea and Flood (2014), after so many steps from 0."""
    z = state * 0x9E37_79B9_7F4A_7C15 % 2**64
    z = (z ^ z >> 30) * 0xBF58_476D_1CE4_E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D0_49BB_1331_11EB % 2**64
    return z ^ z >> 31


def test_below_the_table_a_slots_score_is_splitmix64_but_for_its_last_step() -> None:
    assert [splitmix64(state) for state in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    for bucket, slot in [(0, 1), (0, 2), (1, 0), (3, 7), (16_383, 255)]:
        score = _mixed(bucket, slot)
        assert score ^ score >> 31 == splitmix64(bucket << 32 | slot)


def test_with_nearly_all_away_those_left_share() -> None:
    policy: IpHash[Worker] = IpHash()
    workers = fill(policy, *[1] * 64)
    for worker in workers[3:]:
        policy.remove(worker)
    got = collections.Counter(map_of(policy))
    assert set(got) == {0, 1, 2}
    assert max(got.values()) <= 1.1 * len(CLIENTS) / 3


def test_each_bucket_knows_its_three_highest_slots_in_order() -> None:
    table: SlotTable[Worker] = SlotTable()
    for slot in range(3):
        table.add(Worker(slot))
    for entries in zip(*table._ranks, strict=True):
        assert {entry & 0xFFFF_FFFF for entry in entries} == {0, 1, 2}
        assert sorted(entries, reverse=True) == [*entries]


def test_a_slot_that_comes_back_is_not_learnt_twice() -> None:
    table: SlotTable[Worker] = SlotTable()
    workers = [Worker(slot) for slot in range(5)]
    for worker in workers:
        table.add(worker)
    before = [rank.tobytes() for rank in table._ranks]
    for worker in workers:
        table.remove(worker)
        table.add(worker)
    assert table._known == {0, 1, 2, 3, 4}
    assert [rank.tobytes() for rank in table._ranks] == before
