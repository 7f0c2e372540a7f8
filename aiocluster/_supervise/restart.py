"""When a start is tried again: after an unexpected end, and after one that failed for want of resources.

Sans-I/O: times in, decisions out.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from ..settings import RestartPolicy

_FIRST_STEP = 0.1  # seconds: the backoff starts doubling from here if the shortest is 0

_SHORTAGE_BACKOFF = (0.05, 1.0)  # seconds
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS})


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


@dataclass(slots=True)
class Shortage:
    """A slot whose start has failed for want of descriptors, memory or processes. It is tried until there are some.

    Attributes:
        since: When it failed first.
        retry_at: When it is tried again.
        tries: How often it has failed.
    """

    since: float
    retry_at: float = 0.0
    tries: int = 0

    def failed(self, now: float, chance: float) -> None:
        """Records one more failure. ``chance``, from 0 to 1, selects a point in the jitter of ±25 %."""
        shortest, longest = _SHORTAGE_BACKOFF
        self.retry_at = now + min(longest, shortest * 2.0 ** min(self.tries, 60)) * (0.75 + 0.5 * chance)
        self.tries += 1


def is_shortage(error: BaseException) -> bool:
    """Whether a start failed for want of descriptors, memory or processes, which is not the application's fault."""
    if isinstance(error, OSError):
        return error.errno in _SHORTAGES
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))
