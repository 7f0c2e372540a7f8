"""An agent that the fleet has one of ends with its lease, whatever it does: a thread looks at the time."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time

from .._processes.clock import now
from .._wire import frames
from .first_frames import read_descriptor
from .thread import start_thread

_LOOK = 0.25
"""Seconds between two looks, at most. Waiting stands still while the machine sleeps; the clock of leases does not."""


def read_lease(sock: socket.socket) -> int:
    """Reads the `frames.LeaseHeld`, which is the next frame, and nothing after it. Returns its descriptor."""
    fd = read_descriptor(sock, frames.LeaseHeld)
    if fd is None:
        sys.exit("aiocluster: the agent was sent no lease: the process had no room for a descriptor")
    return fd


def end_with_lease(fd: int) -> None:
    """Kills this process as soon as the lease that ``fd`` tells of has passed.

    SIGKILL can't be handled, so nothing goes on. That holds after a SIGCONT, too.
    """

    def watch() -> None:
        while (left := _until(fd) - now()) > 0:
            time.sleep(min(left, _LOOK))
        os.kill(os.getpid(), signal.SIGKILL)

    if _until(fd) <= now():
        os.kill(os.getpid(), signal.SIGKILL)
    start_thread("aiocluster-lease", watch)


def _until(fd: int) -> float:
    """The time until which the lease holds. It is there twice: if both differ, it is being written just now."""
    while True:
        once, again = struct.unpack("=dd", os.pread(fd, 16, 0))
        if once == again:
            return float(once)
