"""The worker with the fewest connections."""

from __future__ import annotations

from ._least import Least
from .policy import C


class LeastConnections(Least[C]):
    """Picks the worker with the fewest connections in proportion to its weight."""

    def _load(self, worker: C, connections: int) -> float:
        return (connections + 1) / worker.weight
