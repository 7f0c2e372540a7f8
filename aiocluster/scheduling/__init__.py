"""Which worker gets this connection: sans-I/O, one small class a policy.

A policy hears which workers may be picked (`Policy.add`, `Policy.remove`) and picks one. A worker whose window is full
is removed and added again once it has room, so a policy never sees a worker that can't take a connection.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from .chance import Random
from .hashing import IpHash, UrlHash
from .least import Fair, LeastConnections
from .policy import Candidate, Peeking, Policy
from .turns import RoundRobin, WeightedRoundRobin

SHARED = "shared"
"""No policy of the primary's: the workers accept on one listening socket, as the kernel wakes them."""

REUSE_PORT = "reuse_port"
"""No policy of the primary's: each worker accepts on a socket of its own, among which the kernel chooses at random."""

REUSE_PORT_IP_HASH = "reuse_port_ip_hash"
"""Likewise, and the kernel chooses by the client's address; `IpHash` where it can't."""

OWN_SOCKETS = (REUSE_PORT, REUSE_PORT_IP_HASH)
BY_KERNEL = (SHARED, *OWN_SOCKETS)

POLICIES: dict[str, Callable[[], Policy[Any]]] = {
    "round_robin": RoundRobin,
    "weighted_round_robin": WeightedRoundRobin,
    "random": Random,
    "least_connections": LeastConnections,
    "ip_hash": IpHash,
    "url_hash": UrlHash,
    "fair": Fair,
}
"""The policies that are known by name; each call makes one."""

_CHOICES = ", ".join((*POLICIES, *BY_KERNEL))


def check(scheduling: Any) -> None:
    """Raises ValueError unless this is one of `BY_KERNEL`, or something that `maker` takes."""
    if not (isinstance(scheduling, str) and scheduling in BY_KERNEL):
        maker(scheduling)


def maker(scheduling: Any) -> Callable[[], Policy[Any]]:
    """What makes a policy for each port. Call it once for a setting, and keep what it returns.

    One's own policy is given as a callable without arguments that returns one, such as its class: each port needs a
    policy of its own. For the common case of one port, an object will do.

    Args:
        scheduling: A name of `POLICIES`; a callable, which is called for each port; or an object that has ``add``,
            ``remove`` and ``pick``. It serves the first port itself, and each further one as a copy of how it was
            before (`copy.deepcopy`).

    Raises:
        ValueError: It is none of these. What is returned raises it if the callable makes something else than a policy,
            or if the object can't be copied.
    """
    if isinstance(scheduling, str):
        if scheduling in POLICIES:
            return POLICIES[scheduling]
    elif is_policy(scheduling):
        return _Made(scheduling) if isinstance(scheduling, type) else _Copied(scheduling)
    elif callable(scheduling) and not isinstance(scheduling, type):
        return _Made(scheduling)
    raise ValueError(
        f"scheduling must be one of {_CHOICES}, an object that has add, remove and pick, or a callable that returns "
        f"one, not {scheduling!r}"
    )


def is_policy(candidate: Any) -> bool:
    """Whether this has what a policy must have. ``changed`` it may have."""
    return all(callable(getattr(candidate, name, None)) for name in ("add", "remove", "pick"))


class _Made:
    """What the user's callable returns, if it is a policy."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __call__(self) -> Any:
        policy = self._make()
        if not is_policy(policy):
            raise ValueError(f"scheduling: {self._make!r} returned {policy!r}, which lacks add, remove or pick")
        return policy


class _Copied:
    """The user's object, then copies of how it was before it was used."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._is_in_use = False
        self._unused: Any = None
        self._objection: Exception | None = None

    def __call__(self) -> Any:
        if not self._is_in_use:
            self._is_in_use = True
            try:
                self._unused = copy.deepcopy(self._policy)
            except Exception as error:  # matters only if there is a second port
                self._objection = error
            return self._policy
        if self._objection is not None:
            raise ValueError(
                f"scheduling: {self._policy!r} serves one port, and can't be copied for another; "
                "give a callable that makes one for each"
            ) from self._objection
        return copy.deepcopy(self._unused)


__all__ = [
    "BY_KERNEL",
    "OWN_SOCKETS",
    "POLICIES",
    "REUSE_PORT",
    "REUSE_PORT_IP_HASH",
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
    "check",
    "is_policy",
    "maker",
]
