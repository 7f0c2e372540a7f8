"""How much of its time an event loop is busy: all the time in which it does not wait for I/O.

It is the same number as that of Node's ``performance.eventLoopUtilization()``. A blocked loop is busy, whether it
computes or sleeps.

asyncio's loops wait in their selector, which is timed. libuv times uvloop's if it is told to: it looks at that option
each time before it waits, so a running loop may be told, too. Of other loops nothing is known.

A turn that waits costs two looks at the clock more, and with libuv a system call: about a microsecond of the hundred
that a message and its answer take. A turn that does not wait costs nothing more.
"""

from __future__ import annotations

import asyncio
import importlib
import selectors
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from .listening.arguments import is_uvloop

IdleTime = Callable[[], float]
"""Returns the seconds that a loop has waited for I/O so far. Call it in that loop's thread, while the loop is open."""

_METRICS_IDLE_TIME = 1  # UV_METRICS_IDLE_TIME of uv_loop_option


class BusyMeter:
    """Measures the event loops of this process, one at a time."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[asyncio.AbstractEventLoop, IdleTime | None] = WeakKeyDictionary()
        self._idle_time: IdleTime | None = None
        self._idle_before = 0.0
        self._since = 0.0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Measures this loop from now on."""
        if loop not in self._known:
            self._known[loop] = idle_time(loop)
        self._idle_time = self._known[loop]
        self.take()

    def idle_time(self) -> float | None:
        """The seconds that the loop has waited for I/O so far; None: unknown. Call it in that loop's thread."""
        return None if self._idle_time is None else self._idle_time()

    def take(self) -> float | None:
        """The share of time that the loop was busy since `start`, or since the last call: 0.0 to 1.0; None: unknown."""
        if self._idle_time is None:
            return None
        now, idle = time.monotonic(), self._idle_time()
        seconds = now - self._since
        share = 1.0 - (idle - self._idle_before) / seconds if seconds > 0 else 0.0
        self._since, self._idle_before = now, idle
        return min(1.0, max(0.0, share))


def idle_time(loop: asyncio.AbstractEventLoop) -> IdleTime | None:
    """Has this loop's waiting timed from now on. Call it once for each loop. None: it can't be timed."""
    if is_uvloop(loop):
        return _of_uvloop(loop)
    selector = getattr(loop, "_selector", None)
    return _of_selector(selector) if isinstance(selector, selectors.BaseSelector) else None


def _of_selector(selector: selectors.BaseSelector) -> IdleTime | None:
    select = selector.select
    clock = time.monotonic
    idle = 0.0

    def timed_select(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        nonlocal idle
        if timeout is not None and timeout <= 0:
            return select(timeout)
        began = clock()
        try:
            return select(timeout)
        finally:
            idle += clock() - began

    try:
        selector.select = timed_select  # type: ignore[method-assign]
    except AttributeError:  # of a class with slots
        return None
    return lambda: idle


def _of_uvloop(loop: asyncio.AbstractEventLoop) -> IdleTime | None:
    try:
        import ctypes  # slow to import, and asyncio's loops don't need it

        extension: Any = importlib.import_module("uvloop.loop")
        libuv = ctypes.CDLL(extension.__file__)
        configure, read = libuv.uv_loop_configure, libuv.uv_metrics_idle_time
        capsule = extension.libuv_get_loop_t_ptr(loop)
    except (ImportError, AttributeError, OSError):  # a build that hides libuv's functions
        return None
    name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    types = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    pointer_of = types(("PyCapsule_GetPointer", ctypes.pythonapi))
    configure.argtypes, configure.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_int
    read.argtypes, read.restype = [ctypes.c_void_p], ctypes.c_uint64
    pointer = pointer_of(capsule, name_of(capsule))
    if configure(pointer, _METRICS_IDLE_TIME):  # a libuv that does not know the option
        return None
    return lambda: float(read(pointer)) / 1e9
