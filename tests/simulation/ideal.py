"""The ideal: one queue for all, from which whoever is free takes the next request at once."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from .queueing import Outcome, lost
from .traffic import Traffic


def single_queue(traffic: Traffic) -> Outcome:
    """What comes of this traffic if every request, also of a kept connection, is served by whoever is free."""
    requests = sorted(
        (connection.at + offset, service) for connection in traffic.connections for offset, service in connection.requests
    )
    free = [(0.0, slot, slowness) for slot, slowness in enumerate(traffic.slowness)]
    heapify(free)
    served, counts = [], [0] * len(free)
    for at, service in requests:
        free_at, slot, slowness = heappop(free)
        begun = max(at, free_at)
        ended = begun + service * slowness
        served.append((at, begun, ended))
        counts[slot] += 1
        heappush(free, (ended, slot, slowness))
    waits = sorted(begun - at for at, begun, _ in served)
    times = sorted(ended - at for at, _, ended in served)
    return Outcome(max(counts) * len(counts) / len(requests), waits, times, lost(served, len(counts)))
