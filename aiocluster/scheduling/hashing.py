"""Policies that keep what belongs together on one worker."""

from __future__ import annotations

import os
from array import array
from hashlib import shake_128
from typing import Any, ClassVar, Generic, TypeVar
from zlib import crc32

from .policy import Candidate, Peeking, Policy
from .request import Peek, request_target
from .turns import RoundRobin

C = TypeVar("C", bound=Candidate)

_BUCKETS = 1 << 14  # keys are spread over these, and these over workers: 64 for each of 256
_RANKS = 3
_NOBODY = 0xFFFF_FFFF
_64_BITS = 0xFFFF_FFFF_FFFF_FFFF


class SlotTable(Generic[C]):
    """Which slot a key belongs to: rendezvous hashing (Thaler and Ravishankar, 1998) of buckets of keys.

    Each slot has a score in each bucket, and the bucket's keys go to the highest of those that are here. So a slot that
    comes takes only what will be its own, one n-th of all, and one that goes gives away only what was. Where it goes
    depends on nothing but slot numbers; a replacement takes its predecessor's slot over, and nothing moves.

    The highest `_RANKS` of each bucket stand in a table, which changes only when a slot number turns up that was not
    known. Picking costs the same with any number of workers as long as not nearly all of them are away.
    """

    def __init__(self) -> None:
        self._here: dict[int, list[C]] = {}
        self._forget()

    def _forget(self) -> None:
        self._known: set[int] = set()
        self._ranks = [array("Q", [_NOBODY]) * _BUCKETS for _ in range(_RANKS)]  # score << 32 | slot

    def add(self, worker: C) -> None:
        """Its slot is here."""
        slot = worker.slot
        self._here.setdefault(slot, []).append(worker)
        if slot not in self._known:
            if len(self._known) > 2 * len(self._here) + 16:  # slots that are long gone
                self._forget()
                for one in self._here:
                    self._learn(one)
            else:
                self._learn(slot)

    def remove(self, worker: C) -> None:
        """Its slot is not here, unless another worker has it too."""
        workers = self._here[worker.slot]
        workers.remove(worker)
        if not workers:
            del self._here[worker.slot]

    def find(self, key: bytes) -> C:
        """The worker this key belongs to; of two with the same slot, the one that came last."""
        bucket = crc32(key) % _BUCKETS
        here = self._here
        for rank in self._ranks:
            workers = here.get(rank[bucket] & _NOBODY)
            if workers is not None:
                return workers[-1]
        return here[max(here, key=lambda slot: _mixed(bucket, slot))][-1]

    def _learn(self, slot: int) -> None:
        """Enters this slot where its score is among the highest."""
        self._known.add(slot)
        scores = array("I", shake_128(b"%d" % slot).digest(4 * _BUCKETS))
        higher = ((bucket, score) for bucket, score in enumerate(scores) if score << 32 > self._ranks[-1][bucket])
        for bucket, score in higher:
            entry = score << 32 | slot
            for rank in self._ranks:
                beside = rank[bucket]
                if entry > beside:
                    rank[bucket] = entry
                    entry = beside


def _mixed(bucket: int, slot: int) -> int:
    """A slot's score below the ranks of the table: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    score = (bucket << 32 | slot) * 0x9E37_79B9_7F4A_7C15 & _64_BITS
    score = (score ^ score >> 30) * 0xBF58_476D_1CE4_E5B9 & _64_BITS
    return (score ^ score >> 27) * 0x94D0_49BB_1331_11EB & _64_BITS


class Keyed(Policy[C]):
    """The same key, the same worker; what has no key is served in turn."""

    def __init__(self) -> None:
        self._table: SlotTable[C] = SlotTable()
        self._turns: RoundRobin[C] = RoundRobin()

    def add(self, worker: C) -> None:
        self._table.add(worker)
        self._turns.add(worker)

    def remove(self, worker: C) -> None:
        self._table.remove(worker)
        self._turns.remove(worker)

    def forget(self, worker: C) -> None:
        self._turns.forget(worker)  # the table goes by slots, and a replacement may be on its way

    def _find(self, key: bytes | None) -> C:
        return self._turns.pick(None) if key is None else self._table.find(key)


class IpHash(Keyed[C]):
    """All connections of a client's address to one worker, as long as that is here; weights do not count.

    An IPv4 address that is mapped into IPv6 (RFC 4291, 2.5.5.2) is the same as that address by itself. A Unix socket's
    client is told by its path or abstract name; most have none, and are served in turn. A worker that comes or goes for
    good moves one n-th of the addresses; one that is away for a moment, its own until it is back.
    """

    def pick(self, client: Any) -> C:
        return self._find(address_key(client) or None)


def address_key(client: Any) -> bytes:
    """What a client's address, as ``accept()`` returns it, is told by; empty if it has none."""
    host = client[0] if isinstance(client, tuple) else client
    if isinstance(host, bytes):
        return host
    name = str(host)
    if name.startswith("::ffff:"):
        return _unmapped(name)
    return os.fsencode(name.partition("%")[0])  # % and an interface: where it came in, not who


def _unmapped(host: str) -> bytes:
    from ipaddress import IPv6Address  # few programs listen on addresses of both kinds

    mapped = IPv6Address(host).ipv4_mapped
    return str(mapped or host).encode()


class UrlHash(Keyed[C], Peeking[C]):
    """All connections whose first request has the same target to one worker, as long as that is here.

    What is not HTTP/1, does not say in time what it wants, or is encrypted, is served in turn. Weights do not count.
    Only the first request of a connection is looked at. A target that does not fit into `peek_limit` is told by what
    does. Workers come and go as with `IpHash`.
    """

    peek_limit: ClassVar[int] = 4096
    patience: ClassVar[float] = 0.5

    def has_enough(self, first: bytes) -> bool:
        return len(first) >= self.peek_limit or request_target(first) is not Peek.NEED_MORE

    def pick_by(self, client: Any, first: bytes) -> C:
        target = request_target(first)
        if target is Peek.NEED_MORE and len(first) >= self.peek_limit:
            target = request_target(first + b" HTTP/1.1")  # as if it ended here
        return self._find(None if isinstance(target, Peek) else target)
