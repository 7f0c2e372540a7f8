"""The clock that leases go by."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds on a clock that no one sets, and that goes on while the machine sleeps. All processes have the same."""
    return time.clock_gettime(CLOCK)


CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux's monotonic clock stands still while the machine sleeps (clock_gettime(2)); macOS's goes on."""
