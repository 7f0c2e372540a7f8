"""Whose exception it is: that of the function that raised it, or one from outside that hit the function while it ran.

What a user's function raises is that function's failure, whatever its type. Two things come from outside and are
passed on: the exception of a signal, such as Ctrl-C's KeyboardInterrupt, and the cancellation of a function's task.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from functools import partial
from opcode import opmap
from types import CodeType, TracebackType
from typing import Any, NoReturn

_RAISE = opmap["RAISE_VARARGS"]


def is_interruption(error: BaseException) -> bool:
    """Whether a signal has raised this exception.

    Python runs signal handlers in the main thread, between any two instructions of whatever runs there. Two signs tell
    a signal's SystemExit or KeyboardInterrupt from a function's own:

    * It passed through the frame of a signal handler: one of the user's, or that of `asyncio.Runner`.
    * It is a KeyboardInterrupt that no ``raise`` statement has raised. Python's own handler of SIGINT has no frame.
    """
    if not isinstance(error, (SystemExit, KeyboardInterrupt)):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    trace = list(_entries(error.__traceback__))
    if isinstance(error, KeyboardInterrupt) and trace:
        origin = trace[-1]
        if origin.tb_frame.f_code.co_code[origin.tb_lasti] != _RAISE:
            return True
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()}
    return any(entry.tb_frame.f_code in handlers for entry in trace)


def ends_task(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether this exception, which a coroutine of that task has raised, came from outside: the task has to end."""
    if isinstance(error, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    if isinstance(error, GeneratorExit):
        return _current_task() is not task  # the coroutine is being closed
    return is_interruption(error)


def pass_on_interruption(error: BaseException) -> bool:
    """If a signal has raised this exception, raises it out of the running event loop, in the loop's next iteration.

    So what the current iteration does is finished first. Without a running loop it is raised at once.

    Returns whether it is an interruption.
    """
    if not is_interruption(error):
        return False
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise error from None
    loop.call_soon(_raise, error)
    return True


def _raise(error: BaseException) -> NoReturn:
    raise error


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _code(handler: Any) -> CodeType | None:
    """The code of a signal handler that is written in Python."""
    while isinstance(handler, partial):
        handler = handler.func
    if not hasattr(handler, "__code__") and callable(handler):
        handler = getattr(type(handler), "__call__", None)  # noqa: B004
    code = getattr(handler, "__code__", None)  # that of a bound method is its function's
    return code if isinstance(code, CodeType) else None


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
