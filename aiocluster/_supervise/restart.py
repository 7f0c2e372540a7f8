"""May this worker be restarted now? Sans-I/O: times in, decisions out."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When workers that end unasked are replaced, and when that is given up.

    Attributes:
        limit: How many workers may end unasked within ``period``; with one more, no more are replaced.
        period: Seconds.
        backoff: The shortest and the longest wait before a replacement, in seconds. The first one starts after the
            shortest; each further one within ``period`` waits twice as long, with jitter.

    Raises:
        ValueError: A number is out of its range; the text names it.
    """

    limit: int = 10
    period: float = 60.0
    backoff: tuple[float, float] = (0.0, 5.0)

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError(f"limit must be a number from 0 on, not {self.limit!r}")
        if not self.period > 0:
            raise ValueError(f"period must be a number of seconds above 0, not {self.period!r}")
        shortest, longest = self.backoff
        if not 0 <= shortest <= longest:
            raise ValueError(f"backoff must be two numbers of seconds, the shorter first, not {self.backoff!r}")


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
