"""Who is in a fleet, in time that the test makes pass: clusters that are cut off, frozen and late."""

from __future__ import annotations

from collections import deque

import pytest

from aiocluster import ProtocolError
from aiocluster._fleet.letters import Batch, Beat, FlowFields, parse
from aiocluster._fleet.roster import BEATS, Roster
from aiocluster._wire import frames as kinds

LEASE = 3.0


class Cluster:
    """A roster, and what it has been told."""

    def __init__(self, host: str) -> None:
        self.there: set[tuple[str, int]] = set()
        self.got: list[tuple[str, int]] = []
        self.roster = Roster(host, LEASE, self)
        self.is_cut_off = self.is_frozen = False

    def joined(self, host: str, pid: int, is_worker: bool) -> None:
        assert (host, pid) not in self.there
        self.there.add((host, pid))

    def left(self, host: str, pid: int) -> None:
        self.there.remove((host, pid))

    def host_left(self, host: str) -> None:
        assert not any(there == host for there, _ in self.there)

    def flow(self, host: str, frame: FlowFields) -> None:
        assert (host, frame[1]) in self.there
        self.got.append((host, frame[3]))


class World:
    """Clusters, the time, and a Redis that passes on what they publish."""

    def __init__(self, *hosts: str) -> None:
        self.now = 100.0
        self.clusters = {host: Cluster(host) for host in hosts}
        for number, cluster in enumerate(self.clusters.values()):
            cluster.roster.add(10 * number + 1, True)
            cluster.roster.reconnected(self.now)
        self.settle()

    def __getitem__(self, host: str) -> Cluster:
        return self.clusters[host]

    def settle(self, most: int = 100) -> None:
        for _ in range(most):
            sent: deque[tuple[str | None, bytes]] = deque()
            for cluster in self.clusters.values():
                if not cluster.is_frozen:
                    due = cluster.roster.due(self.now, acks=True)
                    sent.extend([] if cluster.is_cut_off else due)
            if not sent:
                return
            for host, data in sent:
                for name, cluster in self.clusters.items():
                    if (host in (None, name)) and not cluster.is_cut_off and not cluster.is_frozen:
                        cluster.roster.receive(parse(data), self.now)
        raise AssertionError("they never come to rest")

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += LEASE / BEATS
            for cluster in self.clusters.values():
                if not cluster.is_frozen:
                    if cluster.is_cut_off:
                        cluster.roster.look(self.now)
                    else:
                        cluster.roster.beat(self.now)
            self.settle()

    def heal(self, host: str) -> None:
        self[host].is_cut_off = False
        self[host].roster.reconnected(self.now)
        self.settle()


def send(world: World, sender: str, receiver: str, number: int) -> None:
    pid = next(iter(world[sender].roster.members[sender]))
    world[sender].roster.send(receiver, (kinds.MESSAGES, pid, 1, number, b""))
    world.settle()


def test_all_know_all() -> None:
    world = World("a", "b", "c")
    for cluster in world.clusters.values():
        assert cluster.roster.members == {"a": (1,), "b": (11,), "c": (21,)}
    world["b"].roster.add(12, False)
    world["c"].roster.remove(21)
    world.settle()
    assert world["a"].roster.members == {"a": (1,), "b": (11,), "c": ()}
    assert world["a"].there == {("b", 11), ("b", 12)}


def test_a_cluster_that_is_back_within_its_lease_has_lost_nothing() -> None:
    world = World("a", "b")
    world["a"].is_cut_off = True
    send(world, "b", "a", 1)
    send(world, "a", "b", 2)
    world.wait(LEASE / BEATS)
    send(world, "b", "a", 3)
    world.heal("a")
    assert world["a"].got == [("b", 1), ("b", 3)]
    assert world["b"].got == [("a", 2)]
    assert world["a"].roster.epoch == world["b"].roster.epoch == 1


def test_a_cluster_that_is_cut_off_for_longer_knows_nobody_and_comes_back() -> None:
    world = World("a", "b", "c")
    world["a"].is_cut_off = True
    send(world, "b", "a", 1)
    world.wait(2 * LEASE)
    assert world["a"].there == set()
    assert world["a"].roster.members == {"a": (1,)}
    assert world["b"].there == {("c", 21)}
    world.heal("a")
    world.wait(LEASE)
    assert world["a"].there == {("b", 11), ("c", 21)}
    assert world["b"].there == {("a", 1), ("c", 21)}
    assert world["a"].got == []  # it has come back to its sender
    send(world, "b", "a", 2)
    assert world["a"].got == [("b", 2)]


def test_a_frozen_cluster_gives_itself_up_before_it_does_anything_else() -> None:
    world = World("a", "b")
    send(world, "b", "a", 1)
    world["a"].is_frozen = True
    world.wait(2 * LEASE)
    assert world["b"].there == set()
    frozen = world["a"]
    frozen.is_frozen = False
    frozen.roster.receive(Beat("b", 1, 99, LEASE), world.now)  # the first that it reads, from long ago
    assert not frozen.roster.is_in
    assert frozen.there == set()
    world.wait(LEASE)
    assert frozen.there == {("b", 11)}
    assert world["b"].there == {("a", 1)}


def test_of_two_neither_gives_up_the_other_before_that_one_has_given_up_itself() -> None:
    world = World("a", "b")
    world["a"].is_cut_off = True
    while world["b"].there:
        world.wait(LEASE / BEATS)
    assert not world["a"].roster.is_in


def test_one_that_others_have_given_up_too_early_starts_anew() -> None:
    world = World("a", "b")
    world["b"].roster._give_up(world["b"].roster._others["a"], world.now)  # clocks that don't run alike
    world.wait(LEASE)
    assert world["a"].roster.epoch == 2
    assert world["a"].there == {("b", 11)}
    assert world["b"].there == {("a", 1)}


def test_a_cluster_that_stops_is_gone_at_once() -> None:
    world = World("a", "b")
    world["a"].roster.stop()
    world.settle()
    assert world["b"].there == set()
    assert world["b"].roster.members == {"b": (11,)}


def test_one_that_breaks_the_protocol_is_given_up_alone() -> None:
    world = World("a", "b", "c")
    for bad in ([kinds.CALL, 11, 1, 1, b""], [kinds.MESSAGES, 11, 1, 2**63, b""], ["nonsense"], 5):
        b = world["b"].roster
        letter = Batch("b", b.epoch, 1, b._others["a"].link._sent + 1, 0, False, [bad])
        with pytest.raises(ProtocolError, match=r"^b is given up: "):
            world["a"].roster.receive(letter, world.now)
        assert world["a"].there == {("c", 21)}
        world.wait(LEASE)
        assert world["a"].there == {("b", 11), ("c", 21)}


def test_what_is_known_does_not_grow() -> None:
    world = World("a", "b")
    for _ in range(200):
        send(world, "a", "b", 1)
        world.wait(LEASE / BEATS)
    roster = world["a"].roster
    assert len(roster._beats) <= 1
    assert not roster._over
    link = roster._others["b"].link
    assert not link._unacked
    assert not link._waiting
