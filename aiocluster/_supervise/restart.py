"""The restart policy: when a worker that ended unexpectedly is replaced. Sans-I/O: times in, decisions out."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from ..settings import RestartPolicy

_FIRST_STEP = 0.1  # seconds: the backoff starts doubling from here if the shortest is 0


class RestartHistory:
    """The unexpected ends of the workers of one cluster.

    The limit counts the ends in all slots together. The backoff grows for each slot separately, so that a failing slot
    does not delay a healthy one.

    Args:
        policy: The limit, the period and the backoff.
    """

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._ends: deque[tuple[float, Hashable]] = deque()

    def ended(self, slot: Hashable, now: float, chance: float) -> float | None:
        """Records that a worker has ended unexpectedly.

        Args:
            slot: Its slot.
            now: A monotonic time, in seconds.
            chance: A random number from 0 to 1, which selects a point in the jitter of ±25 %.

        Returns:
            Seconds to wait before starting the replacement; None: too many have ended, so give up.
        """
        ends = self._ends
        while ends and now - ends[0][0] > self.policy.period:
            ends.popleft()
        earlier = sum(1 for _, which in ends if which == slot)
        ends.append((now, slot))
        if len(ends) > self.policy.limit:
            return None
        shortest, longest = self.policy.backoff
        if not earlier:
            return shortest
        wait = max(shortest, _FIRST_STEP) * 2.0 ** min(earlier - 1, 60) * (0.75 + 0.5 * chance)
        return min(longest, max(shortest, wait))
