"""Pure: work that is uneven, from a seed; and how long it takes where one queue stands before all servers.

The same seed is the same arrivals and the same service times for every contender, and for the ideal.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Mix(NamedTuple):
    """How long a request keeps a server: mostly short, now and then long. In seconds."""

    short: float
    long: float
    long_share: float

    def draw(self, chance: random.Random) -> float:
        return self.long if chance.random() < self.long_share else self.short


@dataclass(frozen=True)
class Request:
    at: float
    """When it arrives, in seconds from the beginning: what the plan says, not when it could be sent."""
    seconds: float
    """How long it keeps a server."""


@dataclass(frozen=True)
class Done:
    at: float
    """When it arrived, as above."""
    latency: float
    """Seconds from its arrival to its answer."""


def poisson(seed: int, rate: float, seconds: float, mix: Mix) -> list[Request]:
    """An open loop: requests arrive independently of each other, so many a second on average, answered or not."""
    return stepped(seed, [(seconds, rate)], mix)


def stepped(seed: int, steps: Iterable[tuple[float, float]], mix: Mix) -> list[Request]:
    """The same with one rate after the other: for so many seconds, so many a second."""
    chance = random.Random(seed)
    requests: list[Request] = []
    ends = 0.0
    for seconds, rate in steps:
        at, ends = ends, ends + seconds
        while (at := at + chance.expovariate(rate)) < ends:
            requests.append(Request(at, mix.draw(chance)))
    return requests


@dataclass(frozen=True)
class Turn:
    """One request of a client that waits for the answer and then thinks before it asks again. In seconds."""

    think: float
    seconds: float


def turns(seed: int, client: int, think: float, mix: Mix) -> Iterator[Turn]:
    """A closed loop: what one client does, without end. It thinks for so long on average, exponentially."""
    chance = random.Random(f"{seed}/{client}")
    while True:
        yield Turn(chance.expovariate(1 / think), mix.draw(chance))


class SingleQueue:
    """First come, first served, by whichever server is free first; a hand-over takes no time."""

    def __init__(self, servers: int) -> None:
        self._free_at = [0.0] * servers

    def serve(self, request: Request) -> Done:
        """The requests are to be given in the order of their arrival."""
        began = max(request.at, self._free_at[0])
        done = began + request.seconds
        heapq.heapreplace(self._free_at, done)
        return Done(request.at, done - request.at)


def ideal_open(requests: Iterable[Request], servers: int) -> list[Done]:
    """What an open loop would see of a single queue."""
    queue = SingleQueue(servers)
    return [queue.serve(request) for request in requests]


def ideal_closed(clients: Sequence[Iterator[Turn]], seconds: float, servers: int) -> list[Done]:
    """What clients that wait for their answers would see of a single queue, until so many seconds have gone by."""
    queue = SingleQueue(servers)
    done: list[Done] = []
    due: list[tuple[float, int, float]] = []

    def plan(client: int, now: float) -> None:
        turn = next(clients[client])
        heapq.heappush(due, (now + turn.think, client, turn.seconds))

    for client in range(len(clients)):
        plan(client, 0.0)
    while due[0][0] < seconds:
        at, client, service = heapq.heappop(due)
        done.append(queue.serve(Request(at, service)))
        plan(client, at + done[-1].latency)
    return done


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all doesn't exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
