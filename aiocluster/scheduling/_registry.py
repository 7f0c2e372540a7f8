"""The policies by name, and the policy of a setting.

This is the only module here that is not pure: it gives `Random` its source of random numbers.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .fair import Fair
from .ip_hash import IpHash
from .least_busy import LeastBusy
from .least_connections import LeastConnections
from .policy import Policy
from .random_choice import Random
from .round_robin import RoundRobin
from .url_hash import UrlHash
from .weighted_round_robin import WeightedRoundRobin

SHARED = "shared"
"""No policy in the primary: all workers accept on one listening socket, and the kernel chooses one."""

REUSE_PORT = "reuse_port"
"""No policy in the primary: each worker accepts on a socket of its own, and the kernel chooses one at random."""

REUSE_PORT_IP_HASH = "reuse_port_ip_hash"
"""Like `REUSE_PORT`, but the kernel chooses by the client's address; `IpHash` if it can't."""

OWN_SOCKETS = (REUSE_PORT, REUSE_PORT_IP_HASH)
BY_KERNEL = (SHARED, *OWN_SOCKETS)

POLICIES: dict[str, Callable[[], Policy[Any]]] = {
    "round_robin": RoundRobin,
    "weighted_round_robin": WeightedRoundRobin,
    "random": partial(Random, random.random),
    "least_busy": LeastBusy,
    "least_connections": LeastConnections,
    "ip_hash": IpHash,
    "url_hash": UrlHash,
    "fair": Fair,
}
"""The policies by name. Each call makes a new one."""

DEFAULT = "least_busy"
"""The policy where none is named."""

WEIGHTED = (
    "weighted_round_robin",
    "least_busy",
    "least_connections",
    "fair",
    *((REUSE_PORT,) if sys.platform == "linux" else ()),
)
"""The policies that go by the workers' weights. Only Linux can be told to choose by them."""

_CHOICES = ", ".join((*POLICIES, *BY_KERNEL))


def check(scheduling: Any) -> None:
    """Raises ValueError unless this is one of `BY_KERNEL`, or something that `maker` takes."""
    if not (isinstance(scheduling, str) and scheduling in BY_KERNEL):
        maker(scheduling)


def maker(scheduling: Any) -> Callable[[], Policy[Any]]:
    """Returns a function that makes a policy for each port. Call `maker` once for a setting, and keep the function.

    Each port needs a policy of its own, so users give a callable without arguments that returns one, such as its class.
    For a single port, an object is enough.

    Args:
        scheduling: A name of `POLICIES`; a callable, which is called for each port; or an object that has ``add``,
            ``remove`` and ``pick``. The object itself serves the first port. Each further port gets a copy of the
            object as it was before its first use (`copy.deepcopy`).

    Raises:
        ValueError: It is none of these. The returned function raises it if the callable does not return a policy, or if
            the object can't be copied.
    """
    if isinstance(scheduling, str):
        if scheduling in POLICIES:
            return POLICIES[scheduling]
    elif scheduling is Random:  # the class, which needs an argument
        return POLICIES["random"]
    elif is_policy(scheduling):
        return _Made(scheduling) if isinstance(scheduling, type) else _Copied(scheduling)
    elif callable(scheduling) and not isinstance(scheduling, type):
        return _Made(scheduling)
    raise ValueError(
        f"scheduling must be one of {_CHOICES}, an object that has add, remove and pick, or a callable that returns "
        f"one, not {scheduling!r}"
    )


def is_policy(candidate: Any) -> bool:
    """Whether this has the methods that a policy must have."""
    return all(callable(getattr(candidate, name, None)) for name in ("add", "remove", "pick"))


class _Made:
    """Calls the user's callable and checks that it returns a policy."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __call__(self) -> Any:
        policy = self._make()
        if not is_policy(policy):
            raise ValueError(f"scheduling: {self._make!r} returned {policy!r}, which lacks add, remove or pick")
        return policy


class _Copied:
    """Returns the user's object first, then copies of it as it was before its first use."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._is_in_use = False
        self._unused: Any = None
        self._reason: Exception | None = None

    def __call__(self) -> Any:
        if not self._is_in_use:
            self._is_in_use = True
            try:
                self._unused = copy.deepcopy(self._policy)
            except Exception as error:  # matters only if there is a second port
                self._reason = error
            return self._policy
        if self._reason is not None:
            raise ValueError(
                f"scheduling: {self._policy!r} serves one port, and can't be copied for another; "
                "give a callable that makes one for each"
            ) from self._reason
        return copy.deepcopy(self._unused)
