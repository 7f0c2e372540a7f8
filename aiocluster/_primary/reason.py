"""Why a worker ended. Sans-I/O: what the primary knows goes in, the reason comes out.

========= ==========================================================================================================
reason    the worker
========= ==========================================================================================================
told      was told to leave, or was ended at once by a stop
own       chose to leave
returned  had a target that returned, or exited with code 0
failed    raised an exception, exited with another code, could not start, or broke the protocol
killed    was ended by a signal that the cluster did not send
late      outlasted a deadline
hung      had a blocked event loop
limit     reached a limit, such as ``max_lifetime``
========= ==========================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .._processes.exit_status import ExitStatus
from ..events import Reason

IN_WORDS: Final[Mapping[Reason, str]] = {
    "told": "told to leave",
    "own": "it chose to leave",
    "returned": "its target returned",
    "failed": "it failed",
    "killed": "killed from outside",
    "late": "it was too late",
    "hung": "its event loop was blocked",
    "limit": "it had reached a limit",
}


class Cause:
    """What happened to one worker that explains its end."""

    def __init__(self) -> None:
        self._first: Reason | None = None
        self._signals: dict[int, Reason] = {}

    def happened(self, reason: Reason) -> None:
        """It was told to leave, chose to, reached a limit, or failed. The first of these counts."""
        if self._first is None:
            self._first = reason

    def sent(self, number: int, reason: Reason) -> None:
        """The cluster has sent it this signal. Of several that are the same, the last counts."""
        self._signals[number] = reason

    def reason(self, end: ExitStatus) -> Reason:
        """Returns why it ended like this."""
        for forced in ("late", "hung"):
            if forced in self._signals.values():
                return forced  # however it then ended: it would not have, then and there
        if end.signal is not None:
            return self._signals.get(end.signal, "killed")
        if self._first is not None:
            return self._first
        return "returned" if end.code == 0 else "failed"
