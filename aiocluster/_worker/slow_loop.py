"""`SlowLoop`: tells where an event loop is blocked, while it is blocked.

A thread has the loop run a callback, and waits for it. If that takes too long, the thread looks where the loop's thread
is: `sys._current_frames` needs no rights, and works on all loops. The loop does nothing more in its own turns: one
callback in a quarter of the time that is too long.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from .._wire import frames
from .._wire.frame import Frame
from .places import own_place
from .thread import start_thread

_LOOKS = 4  # in the time that is too long
_LONGEST_PAUSE = 1.0  # seconds


class _Watched(NamedTuple):
    loop: asyncio.AbstractEventLoop
    thread: int


class SlowLoop:
    """Watches the event loops of this process, one at a time.

    Args:
        seconds: How long a loop may be blocked.
        tell: Called with `frames.Slow` and `frames.SlowEnded`, in a thread.
    """

    def __init__(self, seconds: float, tell: Callable[[Frame], object]) -> None:
        self._seconds = seconds
        self._pause = min(_LONGEST_PAUSE, seconds / _LOOKS)
        self._tell = tell
        self._watched: _Watched | None = None
        self._has_one = threading.Event()
        self._is_started = False

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watches this loop from now on. Call it in the loop's thread."""
        self._watched = _Watched(loop, threading.get_ident())
        self._has_one.set()
        if not self._is_started:
            self._is_started = True
            start_thread("aiocluster-slow-loop", self._run)

    def stop(self) -> None:
        """Watches no loop any more."""
        self._has_one.clear()
        self._watched = None

    def _run(self) -> None:
        while True:
            self._has_one.wait()
            watched = self._watched
            if watched is not None:
                self._look(watched)
            time.sleep(self._pause)

    def _look(self, watched: _Watched) -> None:
        answer = threading.Lock()
        answer.acquire()
        began, used = time.monotonic(), time.process_time()
        try:
            watched.loop.call_soon_threadsafe(answer.release)
        except RuntimeError:  # it is closed
            return
        if answer.acquire(timeout=self._seconds):
            return
        frame = sys._current_frames().get(watched.thread)
        if frame is None or self._watched is not watched:
            return
        seconds = time.monotonic() - began
        where = own_place(frame)
        del frame  # it holds all that the application's functions have in use
        if self._has_stood_still(seconds, time.process_time() - used):
            return
        self._tell(frames.Slow(seconds, where))
        while not answer.acquire(timeout=self._pause):
            if self._watched is not watched:
                break
        self._tell(frames.SlowEnded(time.monotonic() - began))

    def _has_stood_still(self, seconds: float, used: float) -> bool:
        """Whether this thread, too, could not run: the process was stopped, or others had the processors.

        It can't either while code in C holds the interpreter. But then the process has used the time.
        """
        return seconds > 1.5 * self._seconds + 0.1 and used < seconds / 2
