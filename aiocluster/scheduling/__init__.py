"""The policies that choose the worker for a connection, one class each.

A policy is told which workers may be picked (`Policy.add`, `Policy.remove`) and picks one (`Policy.pick`). A worker
whose window is full is removed, and added again once it has room, so a policy never sees a worker that can't take a
connection. Policies are pure: they do no I/O, and take time and chance as arguments.
"""

from __future__ import annotations

from .fair import Fair
from .ip_hash import IpHash
from .least_busy import LeastBusy
from .least_connections import LeastConnections
from .policy import Candidate, Peeking, Policy
from .random_choice import Random
from .round_robin import RoundRobin
from .url_hash import UrlHash
from .weighted_round_robin import WeightedRoundRobin

__all__ = [
    "Candidate",
    "Fair",
    "IpHash",
    "LeastBusy",
    "LeastConnections",
    "Peeking",
    "Policy",
    "Random",
    "RoundRobin",
    "UrlHash",
    "WeightedRoundRobin",
]
