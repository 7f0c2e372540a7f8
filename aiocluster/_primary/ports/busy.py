"""How busy a worker's event loop is, smoothed over some seconds. Sans-I/O: times are arguments."""

from __future__ import annotations

SILENT = 1.5
"""Intervals between two reports after which a worker that has sent none counts as busy: its loop is blocked."""

_KEPT = 0.7  # of what was known before, after a second


class BusyShare:
    """A worker's, as its reports tell it. It is smoothed by time: how often they come makes no difference.

    Attributes:
        value: The share of time that its loop was busy, 0.0 to 1.0; None: unknown.
    """

    def __init__(self) -> None:
        self.value: float | None = None

    def reported(self, share: float | None, seconds: float) -> None:
        """Its loop was busy for this share of so many seconds; None: the worker can't tell."""
        if share is None:
            self.value = None
        else:
            before = 0.0 if self.value is None else self.value
            self.value = share + _KEPT**seconds * (before - share)

    def silent(self, seconds: float) -> None:
        """It should have reported in so many seconds, and has not."""
        self.reported(1.0, seconds)
