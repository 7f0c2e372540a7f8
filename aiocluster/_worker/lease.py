"""An agent that the fleet has one of ends with its lease, whatever it does.

On Linux the kernel kills it: a timer sends SIGKILL, which reaches a process even while it is stopped, so that it does
nothing any more when it is continued. A thread sets the timer anew when the lease has been renewed. Elsewhere that
thread alone looks at the time.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

from .._processes.clock import CLOCK, now
from .._wire import frames
from .._wire.codec import Decoder
from .._wire.descriptors import ANCILLARY_SIZE, RECEIVE_FLAGS, received

_LOOK = 0.25
"""Seconds between two looks, at most. Waiting stands still while the machine sleeps; the clock of leases does not."""

_ABSOLUTE = 1  # TIMER_ABSTIME

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
    """Kills this process as soon as the lease that ``fd`` tells of has passed. SIGKILL can't be handled."""
    kill_at = _kernel_timer()
    kill_at(_until(fd))

    def watch() -> None:
        armed = 0.0
        while (left := (until := _until(fd)) - now()) > 0:
            if until != armed:
                armed = until
                kill_at(until)
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


def _kernel_timer() -> Callable[[float], None]:
    """Returns what has the kernel kill this process at a time of the clock of leases: timer_settime(2).

    It does nothing where there are no such timers.
    """
    if sys.platform == "linux":
        import ctypes

        if ctypes.sizeof(ctypes.c_long) == 8:
            libc = ctypes.CDLL(None, use_errno=True)
            timer = ctypes.c_void_p()
            # struct sigevent: sigev_value, sigev_signo, and sigev_notify, which is SIGEV_SIGNAL; 64 bytes in all
            event = struct.pack("=qii48x", 0, signal.SIGKILL, 0)
            if hasattr(libc, "timer_create") and libc.timer_create(CLOCK, event, ctypes.byref(timer)) == 0:

                def kill_at(until: float) -> None:
                    seconds = max(until, 1e-9)  # 0 would disarm it
                    whole = int(seconds)
                    spec = struct.pack("=qqqq", 0, 0, whole, max(1, int((seconds - whole) * 1e9)))
                    libc.timer_settime(timer, _ABSOLUTE, spec, None)

                return kill_at
    return lambda until: None
