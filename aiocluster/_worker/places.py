"""Where a thread is, in words: ``shop/web.py:88 in quote``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType

from .._wire.titles import title_of
from .current import own_session

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))

# The innermost frame of a thread that has nothing to do: the end of the file's path, and the function.
_IDLE = {
    ("selectors.py", "select"),
    ("threading.py", "wait"),
    ("threading.py", "join"),
    ("threading.py", "_wait_for_tstate_lock"),
    ("queue.py", "get"),
    ("thread.py", "_worker"),
    ("socketserver.py", "serve_forever"),
}
_LOOPS = {"run_forever", "run_until_complete"}
"""Functions that run an event loop. uvloop's waits in C, called by one of them."""
SELECTS = {"select", "timed_select"}
"""Functions in which asyncio's loops wait, called by `_run_once`."""


def whole(frame: FrameType | None) -> Iterator[FrameType]:
    """The frame, its caller, and so on."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def own_place(innermost: FrameType) -> str:
    """Where a thread is in the application's own code; or where it is, if it has been called from none."""
    own = next((frame for frame in whole(innermost) if is_own(frame.f_code)), innermost)
    return place(own.f_code, own.f_lineno)


def place(code: CodeType, line: int | None) -> str:
    """A line of code."""
    return f"{short(code.co_filename)}:{line or code.co_firstlineno} in {code.co_name}"


def is_own(code: CodeType) -> bool:
    """Whether code is the application's: the target's package, or neither Python's, nor installed, nor of this one."""
    path = code.co_filename
    if path.startswith(("<", _OURS)):
        return False
    if not path.startswith(_STANDARD) and not any(folder in path for folder in _INSTALLED):
        return True
    return path.startswith(_target_paths())


def _target_paths() -> tuple[str, ...]:
    """Where this worker's target is: the folders of its package, or its file."""
    session = own_session()
    if session is None:
        return ()
    module = sys.modules.get(title_of(session.config.target).partition(":")[0].partition(".")[0])
    folders = tuple(os.path.join(folder, "") for folder in getattr(module, "__path__", ()))
    return folders or tuple(filter(None, [getattr(module, "__file__", None)]))


def is_idle(stack: Sequence[CodeType]) -> bool:
    """Whether a thread waits for something to do. One that runs an event loop does so only in the loop's own wait.

    Args:
        stack: Where it is, innermost first.
    """
    innermost = stack[0]
    if innermost.co_name in _LOOPS or not _LOOPS.isdisjoint(innermost.co_names):
        return True
    if any(code.co_name in _LOOPS for code in stack):
        caller = next(code for code in stack if code.co_name not in SELECTS)
        return caller is not innermost and caller.co_name == "_run_once"
    return not is_own(innermost) and (innermost.co_filename.rpartition("/")[2], innermost.co_name) in _IDLE


def short(path: str) -> str:
    """The path of a source file as it is imported: from the working directory or an entry of ``sys.path`` on."""
    if not os.path.isabs(path):
        return path
    try:
        folders = [os.getcwd(), *sys.path]
    except OSError:  # the working directory has been removed
        folders = sys.path
    inside = [folder.rstrip(os.sep) + os.sep for folder in folders if folder and os.path.isabs(folder)]
    longest = max((folder for folder in inside if path.startswith(folder) and folder != os.sep), key=len, default="")
    return path[len(longest) :]
