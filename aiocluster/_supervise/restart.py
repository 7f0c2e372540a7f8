"""May this worker be restarted now? Sans-I/O: times in, decisions out."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from ..settings import RestartPolicy

_FIRST_STEP = 0.1  # seconds: what waits are doubled from when the shortest is 0


class RestartHistory:
    """The unasked ends of the workers of one cluster.

    The limit holds for all together; the wait grows for each slot by itself, so that a slot that keeps failing does not
    delay a healthy one.

    Args:
        policy: Its numbers.
    """

    def __init__(self, policy: RestartPolicy) -> None:
        self.policy = policy
        self._ends: deque[tuple[float, Hashable]] = deque()

    def ended(self, slot: Hashable, now: float, chance: float) -> float | None:
        """A worker has ended unasked.

        Args:
            slot: Its slot.
            now: A monotonic time, in seconds.
            chance: A random number from 0 to 1: where in its range of ±25 % the wait lies.

        Returns:
            The seconds to wait before its replacement is started; None: too many have ended, give up.
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
