"""Sends what a process has queued although its event loop is blocked, or the process is about to end.

Frames leave at the end of the loop's iteration, many in one system call. A program that sends and then computes for
seconds without giving its loop a turn would have sent nothing until then. So a thread looks after what is queued: it
wakes up a few milliseconds after the first message of an iteration, and sends what is still there.

The thread costs a busy loop next to nothing: it is woken at most once in `TICK`, and the sender of a message only
looks at a flag.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from typing import Protocol

TICK = 0.004  # seconds; with the 5 ms after which a computing thread lets others run, a message leaves within 10 ms
TICK_IF_FULL = 0.05  # seconds between two looks at a queue whose receiver has no room
_AT_EXIT = 1.0  # seconds that the end of the process may wait for room in a socket


class Queue(Protocol):
    """What a flusher looks after: the outbox of a channel."""

    is_looked_after: bool

    def flush_in_thread(self) -> float | None:
        """Sends what is queued. Returns the seconds after which to look again, or None if nothing is left."""
        ...

    def flush_at_exit(self, seconds: float) -> None:
        """Sends what is queued, from any thread, and waits at most so long for room."""
        ...


class Flusher:
    """Looks after queues, with one thread, which starts when it is first needed."""

    def __init__(self) -> None:
        self._pid = 0

    def look_after(self, queue: Queue) -> None:
        """Has the thread look at this queue in a few milliseconds, and then until it is empty."""
        if self._pid != os.getpid():
            self._start()
        queue.is_looked_after = True
        self._queues.add(queue)
        self._something_is_queued.set()

    def _start(self) -> None:
        """Starts the thread, which a forked child does not have."""
        self._pid = os.getpid()
        self._queues: set[Queue] = set()
        self._something_is_queued = threading.Event()
        threading.Thread(target=self._run, name="aiocluster-flusher", daemon=True).start()

    def _run(self) -> None:
        pause: float | None = None
        while True:
            self._something_is_queued.wait(pause)
            self._something_is_queued.clear()
            time.sleep(TICK)
            pauses = [pause for queue in tuple(self._queues) if (pause := self._look_at(queue)) is not None]
            pause = min(pauses, default=None)

    def _look_at(self, queue: Queue) -> float | None:
        # In this order, so that what the loop queues meanwhile is looked after: it looks at the flag last.
        self._queues.discard(queue)
        queue.is_looked_after = False
        pause = queue.flush_in_thread()
        if pause is not None:
            queue.is_looked_after = True
            self._queues.add(queue)
        return pause


flusher = Flusher()
"""The flusher of this process."""


def flush_at_os_exit(queue: Queue) -> None:
    """Has `os._exit` send what is queued first: what was sent before it arrives."""
    pid, exit_now = os.getpid(), os._exit

    @functools.wraps(exit_now)
    def _exit(status: int) -> None:
        if os.getpid() == pid:  # not in a forked child, which ends like this
            queue.flush_at_exit(_AT_EXIT)
        exit_now(status)

    os._exit = _exit  # type: ignore[assignment]
