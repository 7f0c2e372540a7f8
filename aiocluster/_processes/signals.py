"""Signal handlers and the processes that are started beside them: who inherits what, and what must not be inherited."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

FOR_ALL = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""Signals that often reach all processes of a cluster: from a terminal, from ``kill -- -PGID``, from systemd."""

OURS = signal.SIGURG
"""The primary sends it after a SIGTERM of its own, by which a worker knows that the SIGTERM was meant for it alone. A
process that does not handle it ignores it."""

_OF_A_LOOP = frozenset({"asyncio", "uvloop", __name__.partition(".")[0]})


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Blocks the signals in `FOR_ALL` in this thread, and so in what it starts: until that has its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    """Unblocks what `blocked` has blocked in the process that started this one, and all else that was blocked there.

    Whoever started the primary may have left some blocked. A fork server would not hear of its workers' ends then.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def hear_children() -> None:
    """Gives SIGCHLD its default disposition where it is ignored, which whoever started this process may have left.

    While it is ignored, the kernel reaps children at once, so that nobody learns how they ended (wait(2)), and what is
    started inherits that. CPython lets only the main thread change it; elsewhere exit codes stay unknown.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@functools.cache  # there is no way back
def forget_in_forked_children() -> None:
    """Has processes that `os.fork` makes of this one forget the signal handlers of event loops, and ours.

    Such a child (of multiprocessing, say) runs no event loop, but has the handlers, and the descriptor by which they
    wake the loop up is its parent's (`signal.set_wakeup_fd`). So a SIGTERM for the child would be heard by the parent,
    and not by the child. Handlers that other code has set stay. A process that is executed has none anyway.
    """
    masks = threading.local()

    def before() -> None:  # a signal that comes too early waits until the child has forgotten
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    def in_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def in_child() -> None:
        forget()
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


def forget() -> None:
    """Puts the default in place of each signal handler that belongs to an event loop or to this package."""
    if threading.current_thread() is not threading.main_thread():
        return  # CPython lets nobody else
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if belongs_to_a_loop(signal.getsignal(number)):
            signal.signal(number, default(number))


def default(number: int) -> Any:
    """Returns what Python does at a signal from the start."""
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def belongs_to_a_loop(handler: Any) -> bool:
    """Whether an event loop, asyncio's runner or this package has set this handler."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    module = getattr(handler, "__module__", None)
    if module is None:
        module = type(getattr(handler, "__self__", None)).__module__  # a method of a compiled class
    return callable(handler) and str(module).partition(".")[0] in _OF_A_LOOP
