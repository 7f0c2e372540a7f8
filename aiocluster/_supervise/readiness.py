"""When a cluster is ready to serve. Sans-I/O: the observed processes and the time go in.

A worker *serves* when it is online and, if the application listens, listens. An application that is about to listen
can't be told from one that never will, so a worker that opens no port serves `Readiness.patience` seconds after it has
come online, unless another one has opened a port by then.

The cluster is *up* once every slot up to the lower bound has had a worker that served, and from then on it is ready
while at least one serves. So neither a reload, nor scaling, nor the crash of one of several workers changes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .plan import Seen


class Readiness:
    """Whether a cluster's workers are ready to serve. It does not know whether the cluster is being stopped.

    Args:
        patience: Seconds that a worker which is online has for opening its first port.

    Attributes:
        is_up: Whether every slot up to the lower bound has had a worker that served.
        serving: How many slots have a worker that serves.
        wanted: The lower bound, until it is up; 0: none is known yet.
        missing: How many slots up to the lower bound have had no such worker yet.
    """

    def __init__(self, patience: float) -> None:
        self.is_up = False
        self.serving = 0
        self.wanted = 0
        self.missing = 0
        self.patience = patience
        self._listens = False
        self._have_served: set[int] = set()

    @property
    def is_ready(self) -> bool:
        """Whether the cluster is up and a worker serves."""
        return self.is_up and self.serving > 0

    def look(self, low: int, seen: Iterable[Seen], now: float) -> float:
        """Takes note of what has happened.

        Args:
            low: The least number of workers, those that a pending request asks for included; 0: none are wanted yet.
            seen: All processes.
            now: A monotonic time, in seconds.

        Returns:
            When to look again even if nothing changes.
        """
        workers = [one for one in seen if isinstance(one.slot, int) and one.slot >= 0 and one.is_online and one.is_up]
        self._listens = self._listens or any(one.ports for one in workers)
        wake = math.inf
        serving: set[int] = set()
        for one in workers:
            assert isinstance(one.slot, int)
            since = self._serves_from(one)
            if since <= now:
                serving.add(one.slot)
            else:
                wake = min(wake, since)
        self.serving = len(serving)
        if not self.is_up:
            self._have_served |= serving
            self.wanted = low
            self.missing = sum(slot not in self._have_served for slot in range(low))
            self.is_up = low > 0 and self.missing == 0
        return wake

    def _serves_from(self, one: Seen) -> float:
        """Returns from when on a worker that is online serves; math.inf: from when it listens."""
        if self._listens:
            return -math.inf if one.ports else math.inf
        return -math.inf if self.is_up else one.since + self.patience
