"""An agent that the fleet has one of ends with its lease, whatever it does: a thread looks at the time."""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import threading
import time

from .._processes.clock import now
from .._wire import frames
from .._wire.codec import Decoder
from .._wire.descriptors import ANCILLARY_SIZE, RECEIVE_FLAGS, received

_LOOK = 0.25
"""Seconds between two looks, at most. Waiting stands still while the machine sleeps; the clock of leases does not."""

_LENGTH = 4  # bytes of a frame's length


def read_lease(sock: socket.socket) -> int:
    """Reads the `frames.LeaseHeld`, which is the next frame, and nothing after it. Returns its descriptor."""
    head, ancillary, _, _ = sock.recvmsg(_LENGTH, ANCILLARY_SIZE, RECEIVE_FLAGS)
    fds = received(ancillary).take()
    data = head
    while len(data) < _LENGTH or len(data) < _LENGTH + int.from_bytes(data[:_LENGTH], "big"):
        wanted = _LENGTH if len(data) < _LENGTH else _LENGTH + int.from_bytes(data[:_LENGTH], "big")
        more = sock.recv(wanted - len(data))
        if not more:
            sys.exit(1)  # the primary has ended
        data += more
    frame, *_ = Decoder().feed(data)
    frames.LeaseHeld.parse(frame)
    if len(fds) != 1:
        sys.exit("aiocluster: the agent was sent no lease: the process had no room for a descriptor")
    return fds[0]


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
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=watch, name="aiocluster-lease", daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _until(fd: int) -> float:
    """The time until which the lease holds. It is there twice: if both differ, it is being written just now."""
    while True:
        once, again = struct.unpack("=dd", os.pread(fd, 16, 0))
        if once == again:
            return float(once)
