"""What becomes of a process when the one that has started it ends."""

from __future__ import annotations

import os
import signal
import sys


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel kill this process when its parent ends: ``PR_SET_PDEATHSIG`` (prctl(2)), on Linux only.

    A change of uid or gid resets it. It does nothing in a process whose parent is another one.
    """
    if sys.platform == "linux" and os.getppid() == parent_pid:
        _signal_when_parent_dies(signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)


def outlive_parent() -> None:
    """Reverts `die_with_parent`."""
    if sys.platform == "linux":
        _signal_when_parent_dies(0)


def _signal_when_parent_dies(number: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(1, number)
