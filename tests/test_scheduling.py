"""Which worker gets this connection."""

from __future__ import annotations

import collections
import gc
import random
import statistics
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aiocluster.scheduling
from aiocluster.scheduling import (
    BY_KERNEL,
    POLICIES,
    Candidate,
    Fair,
    IpHash,
    LeastConnections,
    Peeking,
    Policy,
    Random,
    RoundRobin,
    UrlHash,
    WeightedRoundRobin,
    check,
    maker,
)
from aiocluster.scheduling.request import Peek, request_target
from aiocluster.scheduling.turns import MOST_OWED, smooth

CLIENT = ("192.0.2.1", 50000)


@dataclass(eq=False)
class Worker:
    slot: int
    weight: int = 1
    connections: int = 0
    delay: float = 0.0

    def __repr__(self) -> str:
        return f"w{self.slot}"


def crew(policy: Policy[Worker], *weights: int) -> list[Worker]:
    workers = [Worker(slot, weight) for slot, weight in enumerate(weights)]
    for worker in workers:
        policy.add(worker)
    return workers


def robin(*workers: str) -> RoundRobin[str]:
    policy: RoundRobin[str] = RoundRobin()
    for worker in workers:
        policy.add(worker)
    return policy


def picks(policy: Policy[str], count: int) -> list[str]:
    return [policy.pick(CLIENT) for _ in range(count)]


def shares(policy: Policy[Worker], count: int) -> dict[int, int]:
    """How many of that many connections each slot gets."""
    return dict(sorted(collections.Counter(policy.pick(CLIENT).slot for _ in range(count)).items()))


# ---- every policy


steps = st.tuples(
    st.sampled_from(["toggle", "toggle", "forget", "change", "pick", "pick"]),
    st.integers(0, 7),
    st.integers(0, 9),
    st.sampled_from([0.0, 0.001, 0.1, 5.0]),
)


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None)  # a table of hashes takes some milliseconds for each new slot
@given(steps=st.lists(steps, max_size=60))
def test_only_workers_that_are_here_are_picked(name: str, steps: list[tuple[str, int, int, float]]) -> None:
    policy = POLICIES[name]()
    workers = [Worker(place % 5, 1 + place % 3) for place in range(8)]  # some slots twice, as during a reload
    here: set[Worker] = set()
    for step, place, connections, delay in steps:
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
            worker.connections, worker.delay = connections, delay
            policy.changed(worker)
        elif step == "pick" and here:
            assert policy.pick((f"10.0.{place}.{connections}", 50000)) in here


def cost(policy: Policy[Worker], workers: list[Worker], clients: list[Any]) -> float:
    """Seconds of processor time for these connections: each is picked for, and another one ends."""
    pick: Callable[[Any], Worker] = policy.pick
    if isinstance(policy, Peeking):
        pick = lambda first: policy.pick_by(CLIENT, first)  # noqa: E731
    ending = collections.deque(worker for worker in workers if worker.connections)
    start = time.thread_time()
    for client in clients:
        worker = pick(client)
        worker.connections += 1
        policy.changed(worker)
        ending.append(worker)
        worker = ending.popleft()
        worker.connections -= 1
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


# ---- round robin


def test_each_in_turn() -> None:
    assert "".join(picks(robin(*"abc"), 7)) == "abcabca"


def test_one_alone_gets_all() -> None:
    assert "".join(picks(robin("a"), 3)) == "aaa"


@given(st.integers(1, 20), st.integers(0, 10))
def test_k_times_n_connections_are_k_for_each_of_n(workers: int, rounds: int) -> None:
    policy: RoundRobin[int] = RoundRobin()
    for worker in range(workers):
        policy.add(worker)
    got = collections.Counter(policy.pick(CLIENT) for _ in range(workers * rounds))
    assert set(got.values()) <= {rounds}


def test_one_that_comes_back_gets_the_turns_it_missed() -> None:
    policy = robin(*"abc")
    assert policy.pick(CLIENT) == "a"
    policy.remove("b")
    assert "".join(picks(policy, 3)) == "cac"
    policy.add("b")
    assert "".join(picks(policy, 4)) == "bbab"  # two that it missed, and its next one


def test_those_that_come_back_together_get_their_turns_mixed() -> None:
    policy = robin(*"abc")
    policy.remove("a")
    policy.remove("b")
    assert "".join(picks(policy, 3)) == "ccc"
    policy.add("a")
    policy.add("b")
    assert "".join(picks(policy, 9)) == "ababababc"


@given(st.integers(2, 6), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=12))
def test_full_windows_change_nothing_about_k_for_each(count: int, steps: list[tuple[int, int]]) -> None:
    """As long as nobody misses more than `MOST_OWED` turns: 12 times 4 connections are at most 48."""
    policy: RoundRobin[int] = RoundRobin()
    got = dict.fromkeys(range(count), 0)
    here = set(range(count))
    for worker in got:
        policy.add(worker)
    for worker, connections in steps:
        if worker in here and len(here) > 1:
            here.remove(worker)
            policy.remove(worker)
        elif worker < count and worker not in here:
            here.add(worker)
            policy.add(worker)
        for _ in range(connections):
            got[policy.pick(CLIENT)] += 1
    for worker in set(got) - here:
        policy.add(worker)
    for _ in range(100 * count - sum(got.values())):
        got[policy.pick(CLIENT)] += 1
    assert set(got.values()) == {100}


@pytest.mark.parametrize("name", ["round_robin", "weighted_round_robin"])
def test_one_that_was_away_for_long_is_owed_nothing(name: str) -> None:
    policy = POLICIES[name]()
    workers = crew(policy, 1, 1)
    policy.remove(workers[0])
    assert shares(policy, MOST_OWED + 2) == {1: MOST_OWED + 2}
    policy.add(workers[0])
    assert shares(policy, 10) == {0: 5, 1: 5}


def test_a_replacement_does_not_inherit_missed_turns() -> None:
    policy = robin(*"abcd")
    policy.remove("a")
    picks(policy, 30)
    policy.add("A")
    assert sorted(collections.Counter(picks(policy, 40)).values()) == [10, 10, 10, 10]


@pytest.mark.parametrize("name", ["round_robin", "weighted_round_robin", "ip_hash"])
def test_one_that_was_forgotten_is_owed_nothing(name: str) -> None:
    policy = POLICIES[name]()
    workers = crew(policy, 1, 1)
    policy.remove(workers[0])
    policy.pick("")
    policy.forget(workers[0])
    assert {policy.pick("") for _ in range(6)} == {workers[1]}
    policy.add(workers[0])
    assert sum(policy.pick("") is workers[0] for _ in range(10)) == 5


@pytest.mark.parametrize("missed", [0, 1, MOST_OWED + 3])
def test_one_that_was_forgotten_can_come_back_at_any_time(missed: int) -> None:
    policy = robin(*"ab")
    policy.remove("a")
    picks(policy, missed)
    policy.forget("a")
    policy.add("a")
    assert sorted(collections.Counter(picks(policy, 10)).values()) == [5, 5]
    assert not policy._away


@pytest.mark.parametrize("name", POLICIES)
def test_nothing_is_kept_of_one_that_was_forgotten(name: str) -> None:
    policy = POLICIES[name]()
    crew(policy, 1, 1)
    worker = Worker(2)
    policy.add(worker)
    policy.remove(worker)
    policy.forget(worker)
    policy.changed(worker)
    gone = weakref.ref(worker)
    del worker
    gc.collect()
    assert gone() is None


# ---- weighted round robin


def naive(weights: list[int], count: int) -> list[int]:
    """nginx's own loop: everybody's credit at every step."""
    credits = [0] * len(weights)
    order = []
    for _ in range(count):
        credits = [credit + weight for credit, weight in zip(credits, weights, strict=True)]
        best = credits.index(max(credits))
        credits[best] -= sum(weights)
        order.append(best)
    return order


def test_the_example_of_nginx() -> None:
    policy: WeightedRoundRobin[Worker] = WeightedRoundRobin()
    crew(policy, 5, 1, 1)
    assert [policy.pick(CLIENT).slot for _ in range(14)] == [0, 0, 1, 0, 2, 0, 0] * 2


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_the_order_is_that_of_nginx(weights: list[int]) -> None:
    order = list(smooth(weights))
    assert order == naive(weights, len(order))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(1, 3), st.integers(1, 4))
def test_shares_are_exact_over_each_period(weights: list[int], periods: int, factor: int) -> None:
    policy: WeightedRoundRobin[Worker] = WeightedRoundRobin()
    crew(policy, *(weight * factor for weight in weights))
    for _ in range(periods):
        total = sum(weights) * factor
        assert shares(policy, total) == {slot: weight * factor for slot, weight in enumerate(weights)}


def test_full_windows_change_nothing_about_weighted_shares() -> None:
    policy: WeightedRoundRobin[Worker] = WeightedRoundRobin()
    workers = crew(policy, 3, 2, 1)
    got = collections.Counter(shares(policy, 1))
    for worker in workers:
        policy.remove(worker)
        got.update(shares(policy, 7))
        policy.add(worker)
    got.update(shares(policy, 600 - got.total()))
    assert got == {0: 300, 1: 200, 2: 100}


# ---- random


def test_random_is_about_even_and_repeatable() -> None:
    policies: list[Random[Worker]] = [Random(random.Random(4).random) for _ in range(2)]
    first, second = (shares(policy, 4000) for policy in policies if crew(policy, 1, 1, 1, 1))
    assert first == second
    assert all(900 < share < 1100 for share in first.values())


# ---- least connections, fair


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


def test_a_batch_is_spread_although_nobody_tells_of_changes() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    crew(policy, 1, 1, 1, 1)
    assert shares(policy, 40) == {0: 10, 1: 10, 2: 10, 3: 10}


def test_idle_workers_take_turns() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    crew(policy, 1, 1, 1)
    got = []
    for _ in range(6):
        worker = policy.pick(CLIENT)
        got.append(worker.slot)
        policy.changed(worker)  # its connection has ended already
    assert got == [0, 1, 2, 0, 1, 2]


def test_a_double_weight_has_twice_as_many_connections() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    crew(policy, 1, 2, 5)
    assert shares(policy, 80) == {0: 10, 1: 20, 2: 50}


def test_a_change_counts_while_it_is_away() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    first, second = crew(policy, 1, 1)
    policy.remove(first)
    first.connections = 3
    policy.changed(first)
    policy.add(first)
    assert [policy.pick(CLIENT) for _ in range(3)] == [second, second, second]


def test_the_heap_of_loads_does_not_grow_with_time() -> None:
    policy: LeastConnections[Worker] = LeastConnections()
    _, busy = crew(policy, 1, 1)
    for number in range(10_000):
        busy.connections = number % 100 + 1
        policy.changed(busy)
    assert len(policy._loads) < 100


def test_the_quickest_gets_most() -> None:
    policy: Fair[Worker] = Fair()
    slow, quick = crew(policy, 1, 1)
    slow.delay, quick.delay = 0.180, 0.011  # sixteen times as slow
    for worker in (slow, quick):
        policy.changed(worker)
    assert shares(policy, 50) == {0: 10, 1: 40}


def test_between_two_reports_not_all_go_to_the_quickest() -> None:
    policy: Fair[Worker] = Fair()
    workers = crew(policy, 1, 1, 1, 1)
    for worker, delay in zip(workers, (0.017, 0.020, 0.030, 0.068), strict=True):
        worker.delay = delay
        policy.changed(worker)
    assert shares(policy, 70) == {0: 20, 1: 20, 2: 20, 3: 10}


def test_where_nothing_is_known_fair_is_even() -> None:
    policy: Fair[Worker] = Fair()
    crew(policy, 1, 1, 1)
    assert shares(policy, 30) == {0: 10, 1: 10, 2: 10}


# ---- ip_hash, url_hash

CLIENTS = [(f"10.{number >> 12}.{number >> 4 & 255}.{number & 15}", 40000 + number) for number in range(20_000)]


def map_of(policy: Policy[Worker]) -> list[int]:
    return [policy.pick(client).slot for client in CLIENTS]


def moved(before: list[int], after: list[int]) -> float:
    return sum(a != b for a, b in zip(before, after, strict=True)) / len(before)


@pytest.mark.parametrize("count", [2, 4, 7, 16, 64])
def test_a_worker_that_comes_or_goes_moves_one_nth(count: int) -> None:
    policy: IpHash[Worker] = IpHash()
    workers = crew(policy, *[1] * count)
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
    workers = crew(policy, 1, 1, 1, 1)
    before = map_of(policy)
    policy.remove(workers[2])
    policy.add(Worker(2))
    assert map_of(policy) == before


def test_during_a_reload_the_new_one_of_a_slot_gets_its_addresses() -> None:
    policy: IpHash[Worker] = IpHash()
    old, *_ = crew(policy, 1, 1, 1)
    client = next(client for client in CLIENTS if policy.pick(client) is old)
    new = Worker(0)
    policy.add(new)
    assert policy.pick(client) is new
    policy.remove(old)
    assert policy.pick(client) is new


@pytest.mark.parametrize("count", [4, 16, 256])
def test_addresses_are_spread(count: int) -> None:
    policy: IpHash[Worker] = IpHash()
    crew(policy, *[1] * count)
    got = collections.Counter(map_of(policy))
    assert len(got) == count
    assert max(got.values()) <= (1.1 if count == 4 else 1.3 if count == 16 else 2.0) * len(CLIENTS) / count


def test_most_workers_away_is_no_trouble() -> None:
    policy: IpHash[Worker] = IpHash()
    workers = crew(policy, *[1] * 32)
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


def test_the_port_does_not_count_and_a_mapped_address_is_the_address() -> None:
    policy: IpHash[Worker] = IpHash()
    crew(policy, *[1] * 64)
    for host, *others in [
        ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207"),
        ("2001:db8::1",),
        ("fe80::1", "fe80::1%eth0"),
    ]:
        expected = policy.pick((host, 1))
        for other in (host, *others):
            assert policy.pick((other, 2)) is expected
            assert policy.pick((other, 3, 0, 0)) is expected
    assert len({policy.pick((f"2001:db8::{number:x}", 1, 0, 0)) for number in range(64)}) > 30


@pytest.mark.parametrize("nameless", ["", b""])
def test_unix_clients_without_a_name_are_served_in_turn(nameless: str | bytes) -> None:
    policy: IpHash[Worker] = IpHash()
    crew(policy, 1, 1, 1)
    assert [policy.pick(nameless).slot for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    for name in ("/run/client\udcff.sock", b"\0client"):
        assert len({policy.pick(name) for _ in range(6)}) == 1


def test_the_same_target_goes_to_the_same_worker() -> None:
    policy: UrlHash[Worker] = UrlHash()
    crew(policy, *[1] * 16)
    requests = [b"GET /%d?x HTTP/1.1\r\n" % number for number in range(200)]
    first = [policy.pick_by(CLIENT, request) for request in requests]
    assert [policy.pick_by(("10.0.0.1", 1), request + b"Host: a\r\n\r\n") for request in requests] == first
    assert len(set(first)) == 16
    assert policy.pick_by(CLIENT, b"POST http://example.org/7?x HTTP/1.0\r\n") is first[7]


@pytest.mark.parametrize("first", [b"", b"GET /slow", b"\x16\x03\x01\x02\x00", b"SSH-2.0-x\r\n"])
def test_what_has_no_target_is_served_in_turn(first: bytes) -> None:
    policy: UrlHash[Worker] = UrlHash()
    crew(policy, 1, 1, 1)
    assert [policy.pick_by(CLIENT, first).slot for _ in range(4)] == [0, 1, 2, 0]
    assert [policy.pick(CLIENT).slot for _ in range(2)] == [1, 2]


def test_a_target_longer_than_the_limit_is_told_by_its_beginning() -> None:
    policy: UrlHash[Worker] = UrlHash()
    crew(policy, 1, 1, 1)
    first = (b"GET /" + b"a" * 10_000)[: policy.peek_limit]
    assert policy.has_enough(first)
    assert not policy.has_enough(first[:-1])
    assert len({policy.pick_by(CLIENT, first) for _ in range(6)}) == 1


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", b"/"),
        (b"GET / HTTP/1.", b"/"),
        (b"\r\nOPTIONS * HTTP/1.1\r\n", b"*"),
        (b"GET /a?b=%20c HTTP/1.0\r\n\r\n", b"/a?b=%20c"),
        ("GET /ü HTTP/1.1".encode(), "/ü".encode()),
        (b"GET http://example.org HTTP/1.1\r\n", b"/"),
        (b"GET http://example.org?q HTTP/1.1\r\n", b"/?q"),
        (b"GET HTTPS://u@[::1]:80/a//b HTTP/1.1\r\n", b"/a//b"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n", b"example.org:443"),
        (b"", Peek.NEED_MORE),
        (b"\r\n", Peek.NEED_MORE),
        (b"GE", Peek.NEED_MORE),
        (b"GET ", Peek.NEED_MORE),
        (b"GET /index", Peek.NEED_MORE),
        (b"GET /index ", Peek.NEED_MORE),
        (b"GET /index HTTP/1", Peek.NEED_MORE),
        (b"GET  / HTTP/1.1\r\n", Peek.NOT_HTTP),
        (b"GET /\r\n", Peek.NOT_HTTP),
        (b"GET / HTTP/2", Peek.NOT_HTTP),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Peek.NOT_HTTP),
        (b"\x16\x03\x01\x00\xa5", Peek.NOT_HTTP),
        (b"EHLO example.org\r\n", Peek.NOT_HTTP),
        (b"A" * 33, Peek.NOT_HTTP),
    ],
)
def test_request_targets(first: bytes, expected: bytes | Peek) -> None:
    assert request_target(first) == expected


@given(st.binary(max_size=80) | st.from_regex(rb"[A-Z]{1,5} /[a-z]{0,9} HTTP/1\.1\r\n.*", fullmatch=True))
def test_more_bytes_never_take_back_what_was_known(data: bytes) -> None:
    known: bytes | Peek = Peek.NEED_MORE
    for end in range(len(data) + 1):
        found = request_target(data[:end])
        assert known in (Peek.NEED_MORE, found)
        known = found


# ---- names, and one's own


@pytest.mark.parametrize("name", [*POLICIES, *BY_KERNEL])
def test_the_known_policies_are_known(name: str) -> None:
    check(name)


@pytest.mark.parametrize("name", ["fifo", "", None, 7, "ROUND_ROBIN", [], int, object()])
def test_any_other_is_a_value_error_that_lists_them(name: object) -> None:
    with pytest.raises(ValueError, match=r"^scheduling must be one of round_robin, .*shared, reuse_port, .*, not "):
        check(name)


class Last(aiocluster.scheduling.Policy[Candidate]):
    """One's own, by the public names."""

    def __init__(self) -> None:
        self.workers: list[Candidate] = []

    def add(self, worker: Candidate) -> None:
        self.workers.append(worker)

    def remove(self, worker: Candidate) -> None:
        self.workers.remove(worker)

    def pick(self, client: Any) -> Candidate:
        return self.workers[-1]


class NoSubclass:
    add = remove = pick = lambda self, _: None


@pytest.mark.parametrize("own", [Last, Last(), NoSubclass, NoSubclass(), lambda: Last(), RoundRobin])
def test_ones_own_policy_will_do(own: Any) -> None:
    check(own)
    make = maker(own)
    first, second = make(), make()
    assert first is not second
    assert isinstance(first, (Last, NoSubclass, RoundRobin))


def test_an_object_serves_the_first_port_itself_and_others_as_it_was() -> None:
    own = Last()
    make = maker(own)
    first = make()
    assert first is own
    first.add(Worker(0))
    first.changed(Worker(0))  # nothing, unless a subclass says otherwise
    second = make()
    assert isinstance(second, Last)
    assert not second.workers


def test_an_object_that_cant_be_copied_serves_one_port() -> None:
    own = Last()
    own.workers = (Worker(n) for n in range(0))  # type: ignore[assignment]
    make = maker(own)
    assert make() is own
    with pytest.raises(ValueError, match="give a callable"):
        make()


def test_a_callable_that_makes_no_policy_is_found_out() -> None:
    def nothing() -> Iterable[int]:
        return []

    with pytest.raises(ValueError, match=r"lacks add, remove or pick$"):
        maker(nothing)()
