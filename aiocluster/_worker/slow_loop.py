"""`SlowLoop`: tells where an event loop is blocked, while it is blocked.

A thread has the loop run a callback, and waits for it. If that takes too long, the thread looks where the loop's thread
is: `sys._current_frames` needs no rights, and works on all loops. The loop does nothing more in its own turns: one
callback in a quarter of the time that is too long.

Code in C that holds the interpreter keeps the thread from looking, too, until it is over. But then the loop's thread
has not yet gone on: the interpreter is given to who waits for it.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple

from .._wire import frames
from .._wire.frame import Frame
from .places import SELECTS, is_idle, own_place, whole
from .thread import OWN_THREADS, start_thread

_LOOKS = 4  # in the time that is too long
_LONGEST_PAUSE = 1.0  # seconds

_DEBUGGERS = {"bdb", "pydevd"}
"""Modules whose functions wait for a person while a thread stands at a breakpoint: pdb's and debugpy's."""

_RUSAGE_THREAD: int | None = getattr(resource, "RUSAGE_THREAD", None)  # Linux has it


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

    def _look(self, watched: _Watched) -> None:
        late = _Lateness()
        time.sleep(self._pause)
        held = late.held(self._pause)
        since = time.monotonic() - held
        if self._watched is not watched:
            return
        answer = threading.Lock()
        answer.acquire()
        try:
            watched.loop.call_soon_threadsafe(answer.release)
        except RuntimeError:  # it is closed
            return
        late = _Lateness()
        patience = max(0.0, since + self._seconds - late.began)
        if answer.acquire(timeout=patience):
            return
        held_since = late.held(patience)
        stood_still = late.total(patience) - held_since
        where = self._where(watched, answer, held + held_since > self._seconds / 2)
        if where is None or stood_still > 0.1 + self._seconds / 2:
            return
        self._tell(frames.Slow(time.monotonic() - since, where))
        while not answer.acquire(timeout=self._pause):
            if self._watched is not watched:
                break
        self._tell(frames.SlowEnded(time.monotonic() - since))

    def _where(self, watched: _Watched, answer: threading.Lock, was_held: bool) -> str | None:
        """Where it is blocked; None if it is not: it stands at a breakpoint, or waits for a processor."""
        every = sys._current_frames()
        own = every.get(watched.thread)
        if own is None or self._watched is not watched or any(_is_debugger(frame) for frame in whole(own)):
            return None
        if not _waits(own):
            return own_place(own)
        if was_held:
            return _holder(every)
        # libuv's loop waits in C, and calls code in C: only time tells which.
        if own.f_code.co_name in SELECTS or answer.acquire(timeout=self._pause):
            return None
        return "code in C that the event loop calls"


def _is_debugger(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in _DEBUGGERS


def _waits(frame: FrameType) -> bool:
    return is_idle([one.f_code for one in whole(frame)])


def _holder(every: dict[int, FrameType]) -> str:
    """Where the thread is that has held the interpreter, and so has blocked a loop that waits for I/O."""
    busy = [
        f"{own_place(frame)} (thread {thread.name}, which held the interpreter)"
        for thread in threading.enumerate()
        if not thread.name.startswith(OWN_THREADS)
        and (frame := every.get(thread.ident or 0)) is not None
        and not _waits(frame)
    ]
    return busy[0] if len(busy) == 1 else "code in C that held the interpreter, in another thread"


class _Lateness:
    """How late the thread that waits goes on, and why: it may have been given no processor, or no interpreter."""

    def __init__(self) -> None:
        self.began: float = time.monotonic()
        self._cpu = time.process_time()
        self._waits = _times_waited()

    def total(self, waited: float) -> float:
        """Seconds that it goes on later than it wanted to: after so many."""
        return time.monotonic() - self.began - waited

    def held(self, waited: float) -> float:
        """Those of them in which code in C has held the interpreter: all or none.

        A thread that wants the interpreter looks again after each switch interval, of which a busy machine lets it have
        some. If the process is stopped, or has no processor, it has none.
        """
        late = self.total(waited)
        waits = _times_waited()
        if waits is None or self._waits is None:
            has_run = time.process_time() - self._cpu > late / 2
        else:
            has_run = waits - self._waits > 3 + late / sys.getswitchinterval() / 50
        return late if has_run else 0.0


def _times_waited() -> int | None:
    """How often this thread has waited so far; None: the system does not tell."""
    return None if _RUSAGE_THREAD is None else resource.getrusage(_RUSAGE_THREAD).ru_nvcsw
