"""Says what the user's requests have begun and done."""

from __future__ import annotations

import logging
from typing import Any

from .wanted import Reload, Request, Scale

logger = logging.getLogger("aiocluster.cluster")


class Progress:
    """Logs reloads and changes of the number of workers. The first number is the start itself, and not told."""

    def __init__(self) -> None:
        self._begun_at = 0.0
        self._processes = 0
        self._before = 0

    def begun(self, request: Request, processes: int, before: int, now: float) -> None:
        """A request has begun. It wants so many workers and agents; so many workers were wanted before."""
        self._begun_at, self._processes, self._before = now, processes, before
        if isinstance(request, Reload):
            fields: dict[str, Any] = {"event": "reload", "processes": processes}
            logger.info("reloading %s", _counted(processes), extra=fields)

    def finished(self, request: Request, workers: int, now: float) -> None:
        """A request is done, or has been given up. So many workers are wanted now."""
        seconds = round(now - self._begun_at, 3)
        if request.error is not None:
            return  # who has asked is told
        if isinstance(request, Reload):
            fields: dict[str, Any] = {"event": "reloaded", "processes": self._processes, "seconds": seconds}
            logger.info("reloaded %s in %.1f s", _counted(self._processes), seconds, extra=fields)
        elif isinstance(request, Scale) and self._before not in (0, workers):
            fields = {"event": "scaled", "workers": workers, "before": self._before, "seconds": seconds}
            logger.info("%d workers instead of %d", workers, self._before, extra=fields)


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"
