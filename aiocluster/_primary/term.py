"""What an agent needs to know of the lease that it has in the fleet."""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """A lease, as an agent's process is told of it.

    Attributes:
        token: The fencing token.
        fd: Shared memory with the time until which the lease holds (`frames.LeaseHeld`).
    """

    token: int
    fd: int
