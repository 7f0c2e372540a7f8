"""Who connects when, and what they ask for. The same seed gives the same traffic."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

MEAN_SERVICE = 0.010  # seconds that a worker takes for a request on average
LOAD = 0.7  # of what all workers together can do
REQUESTS = 100  # for each worker, on average
FEWEST = 4000  # requests of a run, so that a 99th percentile means something with few workers too


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection.

    Attributes:
        at: When it is accepted, in seconds.
        client: Its address as ``accept()`` returns it.
        target: What it asks for.
        requests: Seconds after ``at``, and seconds of work, of each request; at least one, the first at 0.
    """

    at: float
    client: tuple[str, int]
    target: bytes
    requests: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one run gets.

    Attributes:
        connections: In the order of their arrival.
        slowness: For each worker, by how much longer it takes for everything.
        stalls: When which worker does something else, and for how long, in seconds.
    """

    connections: Sequence[Connection]
    slowness: Sequence[float]
    stalls: Sequence[tuple[float, int, float]] = ()


class _Crowd:
    """Clients and what they ask for: 25 clients a worker, alike; 40 targets a worker, some more popular (Zipf)."""

    def __init__(self, chance: random.Random, workers: int) -> None:
        self._chance = chance
        self._clients = 25 * workers
        self._targets = range(40 * workers)
        self._popularity = list(accumulate(1 / (rank + 1) ** 0.7 for rank in self._targets))

    def connection(self, at: float, requests: Sequence[tuple[float, float]]) -> Connection:
        client = self._chance.randrange(self._clients)
        (target,) = self._chance.choices(self._targets, cum_weights=self._popularity)
        host = f"10.{client >> 16}.{client >> 8 & 255}.{client & 255}"
        return Connection(at, (host, 50000), b"/item/%d" % target, tuple(requests))


def _arrivals(chance: random.Random, count: int, rate: float) -> Sequence[float]:
    """Times of a Poisson process, in seconds."""
    return list(accumulate(chance.expovariate(rate) for _ in range(count)))


def _single(
    workers: int,
    seed: int,
    slowness: Sequence[float],
    service: Callable[[random.Random], float],
    mean: float = MEAN_SERVICE,
    load: float = LOAD,
) -> Traffic:
    """A connection for each request."""
    chance = random.Random(f"{workers} {seed}")
    crowd = _Crowd(chance, workers)
    rate = load * sum(1 / factor for factor in slowness) / mean
    times = _arrivals(chance, max(FEWEST, REQUESTS * workers), rate)
    return Traffic([crowd.connection(at, [(0.0, service(chance))]) for at in times], slowness)


def even(workers: int, seed: int) -> Traffic:
    """Every request takes the same time."""
    return _single(workers, seed, [1.0] * workers, lambda chance: MEAN_SERVICE)


def heavy_tailed(workers: int, seed: int) -> Traffic:
    """Most requests are quick, few take up to a second: Pareto with exponent 1.5."""
    quickest = MEAN_SERVICE / 2.8  # so that with the longest cut off, the mean is what it should be
    return _single(workers, seed, [1.0] * workers, lambda chance: min(1.0, quickest * chance.paretovariate(1.5)))


def one_slow(workers: int, seed: int) -> Traffic:
    """Like `even`, but the first worker takes four times as long."""
    return _single(workers, seed, [4.0, *[1.0] * (workers - 1)], lambda chance: MEAN_SERVICE)


def blocking(workers: int, seed: int) -> Traffic:
    """Requests take 4 ms, and one in twenty 100 ms, at a lower load: the traffic of the benchmark P9."""
    long, short, share = 0.100, 0.004, 0.05
    mean = share * long + (1 - share) * short
    service = _either(long, short, share)
    return _single(workers, seed, [1.0] * workers, service, mean, load=67.5 * mean)


def mixed(workers: int, seed: int) -> Traffic:
    """Requests take 0.2 to 5 ms."""
    return _single(workers, seed, [1.0] * workers, lambda chance: chance.uniform(0.0002, 0.005), 0.0026)


def quick(workers: int, seed: int) -> Traffic:
    """Requests take 0.2 ms."""
    return _single(workers, seed, [1.0] * workers, lambda chance: 0.0002, 0.0002)


def rarely_slow(workers: int, seed: int) -> Traffic:
    """Requests take 0.2 ms, and one in a hundred 20 ms."""
    return _single(workers, seed, [1.0] * workers, _either(0.020, 0.0002, 0.01), 0.0004)


def _either(long: float, short: float, share: float) -> Callable[[random.Random], float]:
    return lambda chance: long if chance.random() < share else short


def long_lived(workers: int, seed: int) -> Traffic:
    """About four open connections a worker, for a second each on average, some ten times as busy as others."""
    chance = random.Random(f"{workers} {seed}")
    crowd = _Crowd(chance, workers)
    lifetime, open_per_worker = 1.0, 4
    seconds = 4 * max(FEWEST / workers, REQUESTS) * MEAN_SERVICE / LOAD  # workers report once a second
    count = int(workers * open_per_worker * seconds / lifetime)
    busy = LOAD / MEAN_SERVICE / open_per_worker  # requests a second, on average
    connections = []
    for at in _arrivals(chance, count, workers * open_per_worker / lifetime):
        end = chance.expovariate(1 / lifetime)
        rate = busy * 10.0 ** chance.uniform(-0.5, 0.5) / 1.236  # the mean of the factor, so that it is 1
        requests, offset = [], 0.0
        while offset <= end:
            requests.append((offset, MEAN_SERVICE))
            offset += chance.expovariate(rate)
        connections.append(crowd.connection(at, requests))
    return Traffic(connections, [1.0] * workers)


def burst(count: int, at: float = 0.0, *, before: Traffic | None = None) -> Traffic:
    """So many connections at once to four workers, which ask for next to nothing and stay for an hour.

    Args:
        count: How many.
        at: When, in seconds.
        before: What the workers have to do before.
    """
    stays = Connection(at, ("10.0.0.1", 50000), b"/", ((0.0, 0.00006), (3600.0, 0.0)))
    return Traffic([*(before.connections if before else ()), *[stays] * count], [1.0] * 4)


def stalls(seed: int, at: float, seconds: float) -> Sequence[tuple[float, int, float]]:
    """Each of four workers does something else for 2 ms on average, a hundred times a second."""
    chance = random.Random(seed)
    return [
        (at + when, slot, chance.expovariate(500))
        for slot in range(4)
        for when in _arrivals(chance, int(100 * seconds), 100)
    ]


SCENARIOS: dict[str, Callable[[int, int], Traffic]] = {
    "even": even,
    "heavy-tailed": heavy_tailed,
    "blocking": blocking,
    "one slow worker": one_slow,
    "long-lived": long_lived,
}
"""What all policies are compared by."""

NEW_CONNECTIONS: dict[str, Callable[[int, int], Traffic]] = {
    "blocking": blocking,
    "mixed": mixed,
    "quick": quick,
    "rarely slow": rarely_slow,
    "heavy-tailed": heavy_tailed,
    "one slow worker": one_slow,
}
"""What ways to hand connections over are compared by: each request has a connection of its own."""
