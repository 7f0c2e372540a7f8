"""Policies that pick the worker with the least to do."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from heapq import heapify, heappop, heappush
from math import sqrt
from typing import Any, TypeVar

from .policy import Candidate, Policy

C = TypeVar("C", bound=Candidate)


class Least(Policy[C]):
    """The worker with the least load; among equals the one that has had that load for the longest time.

    Subclasses say what load is. A pick counts as a connection at once, without waiting for `changed` to tell: many
    connections that arrive together are spread as well as those that arrive one by one.

    Workers of one load stand in one bucket, and the buckets' loads in a heap, in which an emptied bucket leaves its
    load behind until it comes up, or until there are more of these than buckets. So the cost of picks and changes grows
    with the logarithm of the number of different loads, not of workers.
    """

    def __init__(self) -> None:
        self._entries: dict[C, tuple[float, int]] = {}  # load, connections
        self._buckets: dict[float, OrderedDict[C, None]] = {}
        self._loads: list[float] = []

    @abstractmethod
    def _load(self, worker: C, connections: int) -> float:
        """The load this worker would have if it got one more than that many connections."""

    def add(self, worker: C) -> None:
        connections = worker.connections
        self._enter(worker, self._load(worker, connections), connections)

    def remove(self, worker: C) -> None:
        self._take_out(worker, self._entries.pop(worker)[0])

    def changed(self, worker: C) -> None:
        old = self._entries.get(worker)
        if old is not None:
            connections = worker.connections
            load = self._load(worker, connections)
            if load != old[0]:
                self._take_out(worker, old[0])
                self._enter(worker, load, connections)
            elif connections != old[1]:
                self._entries[worker] = load, connections

    def pick(self, client: Any) -> C:
        loads, buckets = self._loads, self._buckets
        while (bucket := buckets.get(loads[0])) is None:
            heappop(loads)
        worker = next(iter(bucket))
        load, connections = self._entries[worker]
        self._take_out(worker, load)
        self._enter(worker, self._load(worker, connections + 1), connections + 1)
        return worker

    def _take_out(self, worker: C, load: float) -> None:
        bucket = self._buckets[load]
        del bucket[worker]
        if not bucket:
            del self._buckets[load]

    def _enter(self, worker: C, load: float, connections: int) -> None:
        self._entries[worker] = load, connections
        bucket = self._buckets.get(load)
        if bucket is None:
            self._buckets[load] = OrderedDict({worker: None})
            heappush(self._loads, load)
            if len(self._loads) > 2 * len(self._buckets) + 32:
                self._loads = list(self._buckets)
                heapify(self._loads)
        else:
            bucket[worker] = None


class LeastConnections(Least[C]):
    """The worker with the fewest connections in proportion to its weight."""

    def _load(self, worker: C, connections: int) -> float:
        return (connections + 1) / worker.weight


_NOISE = 0.004  # seconds: shorter delays say nothing


class Fair(Least[C]):
    """The worker that has been quickest, with regard to what it has to do already.

    Delay alone would send everybody to one worker until its next report. As in Finagle's peak EWMA balancer, load is
    the product of delay and connections; but of delay the square root, for connections are part of its cause, and
    reports are old compared with requests. So a worker that is four times as slow gets half as many. Delays are
    compared by powers of two from 4 ms on; where nothing is known, connections alone decide. Weights count as in
    `LeastConnections`.
    """

    def _load(self, worker: C, connections: int) -> float:
        slowness = sqrt(1 << int(worker.delay / _NOISE).bit_length())
        return slowness * (connections + 1) / worker.weight
