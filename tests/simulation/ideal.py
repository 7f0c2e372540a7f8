"""The ideal: one queue, from which whoever is free takes the next request at once."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from .outcome import Outcome, judge
from .traffic import Traffic


def single_queue(traffic: Traffic) -> Outcome:
    """What comes of it if every request, also of a kept connection, is served by the first worker that is free."""
    requests = sorted((kept.at + offset, service) for kept in traffic.connections for offset, service in kept.requests)
    free = [(0.0, slot, slowness) for slot, slowness in enumerate(traffic.slowness)]
    heapify(free)
    served, accepted = [], [0] * len(free)
    for at, service in requests:
        free_at, slot, slowness = heappop(free)
        begun = max(at, free_at)
        ended = begun + service * slowness
        served.append((at, begun, ended))
        accepted[slot] += 1
        heappush(free, (ended, slot, slowness))
    return judge(served, accepted)
