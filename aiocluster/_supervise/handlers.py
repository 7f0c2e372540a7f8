"""The signal handlers of the primary's process: one set of them, which all its clusters share.

::

    kernel ──▶ C handler ──a byte for each signal──▶ socket pair ──▶ the loop ──▶ each cluster's `hear`
                   └─once for several─▶ Python handler: looks whether the byte went elsewhere

Python runs a handler once for several signals that come while it is busy, but writes a byte for each of them to the
descriptor that `signal.set_wakeup_fd` has set. ``loop.add_signal_handler`` reads these bytes, too, but a loop does not
give back the handlers that a program has added to it before.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from .._processes.signals import default, forget_in_forked_children

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)

Hear = Callable[[signal.Signals], None]


class Handlers:
    """Handles `SIGNALS` while anybody listens, and puts back the earlier handlers afterwards.

    A SIGHUP that is ignored (nohup(1)) stays ignored. A program that sets a handler of its own meanwhile keeps it.

    Attributes:
        serving: The tasks that have entered blocks in which `Cluster.serve_forever` runs, once for each of these.
    """

    def __init__(self) -> None:
        self.serving: list[asyncio.Task[Any]] = []
        self._listeners: list[tuple[asyncio.AbstractEventLoop, Hear]] = []
        self._earlier: dict[int, Any] = {}
        self._earlier_wakeup_fd = -1
        self._ours, self._wakeup = -1, -1
        self._is_for_forks = False

    def add(self, hear: Hear) -> None:
        """Calls ``hear`` on the running loop for each signal. Does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        if not self._listeners:
            self._install()
        if all(other is not loop for other, _ in self._listeners):
            loop.add_reader(self._ours, self._read)
        self._listeners.append((loop, hear))

    def remove(self, hear: Hear) -> None:
        """Reverts `add`."""
        loop = asyncio.get_running_loop()
        if (loop, hear) not in self._listeners:
            return
        self._listeners.remove((loop, hear))
        if all(other is not loop for other, _ in self._listeners):
            loop.remove_reader(self._ours)
        if not self._listeners:
            self._uninstall()

    def interrupt(self, task: asyncio.Task[Any]) -> None:
        """Cancels a task at a SIGINT as asyncio's runner does, whose `asyncio.run` then raises KeyboardInterrupt."""
        handler = self._earlier.get(signal.SIGINT)
        if isinstance(handler, functools.partial) and isinstance(_owner(handler.func), asyncio.Runner):
            with contextlib.suppress(KeyboardInterrupt):  # the program has gone on after the first one
                handler(signal.SIGINT, None)
        if not task.cancelling():  # it is not the runner's main task, nor awaited by it
            task.cancel()

    # ---- the process

    def _install(self) -> None:
        if not self._is_for_forks:
            self._is_for_forks = True
            os.register_at_fork(after_in_child=self._put_back)  # before what forgets the handlers of loops
            forget_in_forked_children()
        ours, wakeup = socket.socketpair()
        ours.setblocking(False)
        wakeup.setblocking(False)
        self._ours, self._wakeup = ours.detach(), wakeup.detach()
        self._earlier_wakeup_fd = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in SIGNALS:
            earlier = signal.getsignal(number)
            if number == signal.SIGHUP and earlier is signal.SIG_IGN:
                continue
            self._earlier[number] = default(number) if earlier is None else earlier
            signal.signal(number, self._on_signal)
            signal.siginterrupt(number, False)
        # Whoever started this process may have left them blocked, and would then have no way to stop it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._earlier)

    def _uninstall(self) -> None:
        self._put_back()
        current = signal.set_wakeup_fd(-1)
        if current == self._wakeup:
            current = self._earlier_wakeup_fd
        with contextlib.suppress(ValueError, OSError):  # it has been closed
            signal.set_wakeup_fd(current, warn_on_full_buffer=False)
        os.close(self._ours)
        os.close(self._wakeup)

    def _put_back(self) -> None:
        """Puts back the earlier handlers, in place of those that are still ours."""
        for number, earlier in self._earlier.items():
            if self._is_ours(number):
                signal.signal(number, earlier)
        self._earlier.clear()

    def _is_ours(self, number: int) -> bool:
        return signal.getsignal(number) == self._on_signal

    # ---- signals

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if all(loop.is_closed() for loop, _ in self._listeners):  # their blocks have never been left
            self._listeners.clear()
            self._uninstall()
            signal.raise_signal(number)
            return
        wakeup_fd = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        if wakeup_fd != self._wakeup:  # a loop has set its own: it has the byte
            self._earlier_wakeup_fd = wakeup_fd
            self._tell([number])

    def _read(self) -> None:
        try:
            numbers = os.read(self._ours, 4096)
        except BlockingIOError:  # another loop has read them
            return
        ours = [number for number in numbers if self._is_ours(number)]
        self._tell(ours)
        others = bytes(number for number in numbers if number not in ours)
        if others and self._earlier_wakeup_fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._earlier_wakeup_fd, others)

    def _tell(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            for loop, hear in self._listeners:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(hear, signal.Signals(number))


def _owner(method: object) -> object:
    return getattr(method, "__self__", None)


HANDLERS = Handlers()
"""This process's handlers. A process has no more than one set of them, however many clusters and loops it has."""
