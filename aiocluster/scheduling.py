"""Scheduling policies: those that exist, and what one's own is made of.

``Cluster(scheduling=…)`` takes a name, or one's own policy::

    from aiocluster.scheduling import Policy

    class Last(Policy):
        def __init__(self):
            self.workers = []

        def add(self, worker):
            self.workers.append(worker)

        def remove(self, worker):
            self.workers.remove(worker)

        def pick(self, client):
            return self.workers[-1]

    cluster = Cluster(serve, scheduling=Last)  # the class: each port gets a policy of its own
"""

from __future__ import annotations

from .primary.scheduling import (
    REUSE_PORT,
    SHARED,
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
)

__all__ = [
    "REUSE_PORT",
    "SHARED",
    "Candidate",
    "Fair",
    "IpHash",
    "LeastConnections",
    "Peeking",
    "Policy",
    "Random",
    "RoundRobin",
    "UrlHash",
    "WeightedRoundRobin",
]
