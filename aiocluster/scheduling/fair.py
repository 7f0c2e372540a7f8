"""The worker that responds fastest for its load."""

from __future__ import annotations

from math import sqrt

from ._least import Least
from .policy import C

_NOISE = 0.004  # seconds: shorter delays say nothing


class Fair(Least[C]):
    """Picks the worker with the least product of delay and connections.

    By delay alone, one worker would get all connections until its next sample. As in Finagle's peak EWMA balancer, load
    is the product of delay and connections. Only the square root of the delay counts, because connections are part of
    its cause, and samples are old compared with requests. So a worker that is four times as slow gets half as many
    connections. Delays are rounded to powers of two from 4 ms on. If none is known, only connections count. Weights
    count as in `LeastConnections`.
    """

    def _load(self, worker: C, connections: int) -> float:
        slowness = sqrt(1 << int(worker.delay / _NOISE).bit_length())
        return slowness * (connections + 1) / worker.weight
