"""The worker that answers fastest, considering what it has to do already."""

from __future__ import annotations

from math import sqrt

from ._least import Least
from .policy import C

_NOISE = 0.004  # seconds: shorter delays say nothing


class Fair(Least[C]):
    """The worker that has been fastest, considering what it has to do already.

    Delay alone would send everyone to one worker until its next report. As in Finagle's peak EWMA balancer, load is the
    product of delay and connections. But it is the square root of delay that counts, because connections are part of
    its cause, and reports are old compared with requests. So a worker that is four times as slow gets half as many.
    Delays are compared by powers of two from 4 ms on; where nothing is known, connections alone decide. Weights count
    as in `LeastConnections`.
    """

    def _load(self, worker: C, connections: int) -> float:
        slowness = sqrt(1 << int(worker.delay / _NOISE).bit_length())
        return slowness * (connections + 1) / worker.weight
