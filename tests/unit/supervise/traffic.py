"""Workers without processes, for `Demand`: connections wait in one queue, and each worker serves one at a time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from aiocluster._supervise.demand import Crew, Demand, Load, Pace

STEP = 0.002  # seconds
LOOK = 0.005  # seconds between two looks while connections wait
REPORT = 0.2  # seconds between two reports of busy shares
_SMOOTHING = 0.3

PACE = Pace(settle=0.4, patience=2.0, most_patience=32.0, look=0.1)


@dataclass(eq=False, slots=True)
class Worker:
    """One worker: when it serves, and what it does."""

    serves_from: float
    since: float | None = None
    until: float = 0.0
    worked: float = 0.0
    busy: float | None = None


@dataclass(slots=True)
class Traffic:
    """A cluster under load.

    Attributes:
        seconds: How long a connection takes: a function of a random number generator.
        rate: Connections per second, by time.
        starting: Seconds until a new worker serves.
        bounds: The bounds.
        history: When the number of wanted workers changed, and to what.
        waits: When each connection came, and how long it waited.
    """

    rate: Callable[[float], float]
    seconds: Callable[[random.Random], float]
    starting: float = 0.03
    bounds: tuple[int, int] = (2, 8)
    pace: Pace = PACE
    seed: int = 1
    burst: dict[float, int] = field(default_factory=dict)
    history: list[tuple[float, int]] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)

    def run(self, until: float) -> Traffic:
        low, high = self.bounds
        chance = random.Random(self.seed)
        demand = Demand(self.pace)
        crew = [Worker(0.0, busy=0.0) for _ in range(low)]
        queue: deque[float] = deque()
        arrived, known, mean, next_one = 0, 0, 0.0, chance.expovariate(1)
        next_look, next_report = 0.0, REPORT
        self.history = [(0.0, low)]
        bursts = sorted(self.burst.items())
        for tick in range(round(until / STEP)):
            now = tick * STEP
            come = 0
            next_one -= self.rate(now) * STEP
            while next_one <= 0:
                come += 1
                next_one += chance.expovariate(1)
            while bursts and bursts[0][0] <= now:
                come += bursts.pop(0)[1]
            arrived += come
            queue.extend([now] * come)
            for worker in crew:
                if worker.since is not None and worker.until <= now:
                    known = min(16, known + 1)
                    mean += (worker.until - worker.since - mean) / known
                    worker.since = None
                if worker.since is None and worker.serves_from <= now and queue:
                    came = queue.popleft()
                    self.waits.append((came, now - came))
                    worker.since, worker.until = now, now + self.seconds(chance)
                worker.worked += STEP * (worker.since is not None)
            if now >= next_report:
                next_report += REPORT
                for worker in crew:
                    if worker.serves_from <= now - REPORT:
                        share = worker.worked / REPORT
                        worker.busy = share if worker.busy is None else worker.busy + _SMOOTHING * (share - worker.busy)
                    worker.worked = 0.0
            if now >= next_look:
                next_look = now + (LOOK if queue and len(crew) < high else self.pace.look)
                serving = [worker for worker in crew if worker.serves_from <= now]
                busy = [worker.busy for worker in serving]
                load = Load(
                    waiting=len(queue),
                    stuck=min(now - (now if worker.since is None else worker.since) for worker in serving),
                    arrived=arrived,
                    seconds=mean,
                    busy=None if None in busy else sum(share for share in busy if share is not None),
                )
                seen = Crew(low=low, high=high, wanted=len(crew), serving=len(serving))
                wanted = demand.look(load, seen, now)
                assert low <= wanted <= high
                if wanted != len(crew):
                    self.history.append((now, wanted))
                    crew += [Worker(now + self.starting) for _ in range(wanted - len(crew))]
                    del crew[wanted:]
            elif queue and len(crew) < high:
                next_look = min(next_look, now + LOOK)  # the primary's own timer
        return self

    # ---- what became of it

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.history]

    def at(self, when: float) -> int:
        return [number for since, number in self.history if since <= when][-1]

    def p99(self, since: float, until: float) -> float:
        waits = sorted(wait for came, wait in self.waits if since <= came < until)
        return waits[int(0.99 * len(waits))]

    def turns(self, since: float = 0.0) -> int:
        """How often the number began to rise after it had fallen."""
        numbers = [number for when, number in self.history if when >= since]
        moves = [after > before for before, after in pairwise(numbers)]
        return sum(up and not before for before, up in pairwise(moves))
