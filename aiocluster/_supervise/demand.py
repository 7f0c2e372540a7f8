"""How many workers the load needs, within bounds. Sans-I/O: what is seen goes in, with its time; a number comes out.

**More**, at once and as many as are missing, when connections have waited for `Pace.wait` seconds. How many that are:

* If every worker has been busy for as long with what it was sent, those that wait can count on none of them. Each needs
  a worker of its own, or fewer do if they are quick: one worker serves several within ``wait``.
* If connections come and go, and only the queue is long, Little's law says how many they keep busy: those that arrive
  in a second, times the seconds that one takes; and more, so that the queue is gone within ``wait``.
* Never more than there are connections that wait. So a burst that is over before a worker could start gets none, and
  workers that are starting already are not asked for again.

Where nothing waits in the primary (kept connections, listening sockets that the kernel shares out) the event loops'
busy shares tell: their sum is the number of workers that the load keeps busy, Little's law once more. If they are above
`HOT` for ``Pace.settle`` seconds, there will be as many as bring them to `GOAL`.

**Fewer**, one by one, when for ``Pace.patience`` seconds nobody has waited and the others would have had no more than
`CALM` to do. `CALM` is far enough below `HOT` that the others do not need the one back. Whether bursts do, no share
can tell. So if a worker is missed soon after it has left, the patience doubles, and halves when one is not missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HOT = 0.75
"""Of the workers' time: if they are busy for more, there are too few."""

GOAL = 0.6
"""Of the workers' time: how busy they are to be when there are more."""

CALM = 0.5
"""Of the workers' time: if one fewer would be busy for less, there is one too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the number follows the load, in seconds.

    Attributes:
        wait: How long connections wait before there are more workers.
        settle: How long all must be busy before there are more.
        patience: How long the load must have been low before there is one fewer.
        most_patience: The longest that this becomes.
        look: How often to look when nobody waits.
    """

    wait: float = 0.015
    settle: float = 2.0
    patience: float = 10.0
    most_patience: float = 160.0
    look: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is seen of the load at one moment.

    Attributes:
        waiting: How many connections wait at ports at which no worker has room.
        stuck: Seconds for which every worker there has been busy with the oldest connection that it was sent.
        arrived: How many connections have come so far.
        seconds: How long one connection keeps a worker busy; 0.0 if unknown.
        busy: The sum of the workers' busy shares; None if one has not reported yet.
    """

    waiting: int = 0
    stuck: float = 0.0
    arrived: int = 0
    seconds: float = 0.0
    busy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers there are.

    Attributes:
        low: The least that there may be.
        high: The most that there may be.
        wanted: How many are wanted. Those that are starting are included.
        serving: How many serve.
    """

    low: int
    high: int
    wanted: int
    serving: int


class Demand:
    """Decides how many workers are wanted.

    Args:
        pace: How fast.
    """

    def __init__(self, pace: Pace = Pace()) -> None:
        self.pace = pace
        self._patience = pace.patience
        self._waiting_since: float | None = None
        self._arrived = 0  # when they began to wait
        self._hot_since: float | None = None
        self._calm_since: float | None = None
        self._left_at = -math.inf  # when there was one fewer, if that was the last change

    def look(self, load: Load, crew: Crew, now: float) -> int:
        """Returns how many workers are wanted from now on.

        Call it every ``Pace.look`` seconds; while connections wait and there may be more workers, several times
        within ``Pace.wait``.

        Args:
            load: The load.
            crew: The workers.
            now: A monotonic time, in seconds.
        """
        needed = max(self._for_those_that_wait(load, crew, now), self._for_the_busy(load, crew, now))
        wanted = min(crew.high, max(crew.wanted, needed))
        if wanted > crew.wanted:
            self._hot_since = self._calm_since = None
            if now - self._left_at < 2 * self._patience:
                self._patience = min(self.pace.most_patience, 2 * self._patience)
            self._left_at = -math.inf
        elif self._is_one_too_many(load, crew, now):
            self._calm_since = None
            if self._left_at > -math.inf:
                self._patience = max(self.pace.patience, self._patience / 2)
            self._left_at = now
            wanted -= 1
        return max(crew.low, wanted)

    def pause(self) -> None:
        """Forgets since when things are as they are, because something else has begun to change the workers."""
        self._waiting_since = self._hot_since = self._calm_since = None

    def _for_those_that_wait(self, load: Load, crew: Crew, now: float) -> int:
        if not load.waiting:
            self._waiting_since = None
            return 0
        if self._waiting_since is None:
            self._waiting_since, self._arrived = now, load.arrived
        wait = self.pace.wait
        waited = now - self._waiting_since
        if waited < wait:
            return 0
        if load.stuck >= wait:
            # What has lasted for so long shows that connections take longer now than they did.
            seconds = max(load.seconds or wait, load.stuck - wait)
            return crew.serving + min(load.waiting, math.ceil(load.waiting * seconds / wait))
        if load.waiting * load.seconds / max(1, crew.serving) < wait:
            return 0  # that is how long the next one will wait
        arriving = (load.arrived - self._arrived) / waited * load.seconds
        return min(crew.serving + load.waiting, math.ceil(load.waiting * load.seconds / wait + arriving))

    def _for_the_busy(self, load: Load, crew: Crew, now: float) -> int:
        if load.busy is None or crew.serving < crew.wanted or load.busy < HOT * crew.serving:
            self._hot_since = None
            return 0
        if self._hot_since is None:
            self._hot_since = now
        return math.ceil(load.busy / GOAL) if now - self._hot_since >= self.pace.settle else 0

    def _is_one_too_many(self, load: Load, crew: Crew, now: float) -> bool:
        is_calm = (
            crew.wanted > crew.low
            and crew.serving == crew.wanted
            and not load.waiting
            and load.busy is not None
            and load.busy <= CALM * (crew.wanted - 1)
        )
        if not is_calm:
            self._calm_since = None
            return False
        if self._calm_since is None:
            self._calm_since = now
        return now - self._calm_since >= self._patience
