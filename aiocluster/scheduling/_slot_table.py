"""A table from keys to slots."""

from __future__ import annotations

from array import array
from hashlib import shake_128
from typing import Generic
from zlib import crc32

from .policy import C

_BUCKETS = 1 << 14  # keys are spread over buckets, and buckets over workers: 64 each with 256 workers
_RANKS = 3
_NO_ENTRY = 0xFFFF_FFFF
_64_BITS = 0xFFFF_FFFF_FFFF_FFFF


class SlotTable(Generic[C]):
    """Maps keys to slots: rendezvous hashing (Thaler and Ravishankar, 1998) of buckets of keys.

    Each slot has a score in each bucket. The bucket's keys go to the slot with the highest score among those that have
    a worker. So an added slot takes over only its own keys, one n-th of all, and a removed slot gives away only the
    keys it had. The scores depend only on slot numbers. A replacement takes its predecessor's slot, so no key moves.

    A table holds the `_RANKS` highest scores of each bucket. It changes only when an unknown slot number is added.
    Picking costs the same with any number of workers unless nearly all of them are removed.
    """

    def __init__(self) -> None:
        self._here: dict[int, list[C]] = {}
        self._forget()

    def _forget(self) -> None:
        self._known: set[int] = set()
        self._ranks = [array("Q", [_NO_ENTRY]) * _BUCKETS for _ in range(_RANKS)]  # score << 32 | slot

    def add(self, worker: C) -> None:
        """Adds a worker to its slot."""
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
        """Removes a worker from its slot."""
        workers = self._here[worker.slot]
        workers.remove(worker)
        if not workers:
            del self._here[worker.slot]

    def find(self, key: bytes) -> C:
        """The worker that this key belongs to. If two have the same slot, the one added last."""
        bucket = crc32(key) % _BUCKETS
        here = self._here
        for rank in self._ranks:
            workers = here.get(rank[bucket] & _NO_ENTRY)
            if workers is not None:
                return workers[-1]
        return here[max(here, key=lambda slot: _mixed(bucket, slot))][-1]

    def _learn(self, slot: int) -> None:
        """Enters this slot wherever its score is among the highest."""
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
