"""Where a thread is, in words: ``shop/web.py:88 in quote``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import CodeType, FrameType

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))

# The innermost frame of a thread that has nothing to do: the end of the file's path, and the function.
_IDLE = {
    ("selectors.py", "select"),
    ("busy.py", "timed_select"),
    ("patch.py", "run_forever"),  # under uvloop, which waits in C
    ("patch.py", "run_until_complete"),
    ("threading.py", "wait"),
    ("threading.py", "join"),
    ("threading.py", "_wait_for_tstate_lock"),
    ("queue.py", "get"),
    ("thread.py", "_worker"),
    ("socketserver.py", "serve_forever"),
}
_LOOPS = {"run_forever", "run_until_complete"}
"""What the innermost frame has called if a loop in C waits that this package has not hooked."""


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
    """Whether code is the application's: neither Python's, nor installed, nor of this package."""
    path = code.co_filename
    if path.startswith(("<", _OURS)) or any(folder in path for folder in _INSTALLED):
        return False
    return not path.startswith(_STANDARD)


def is_idle(innermost: CodeType) -> bool:
    """Whether a thread that is in this code waits for something to do."""
    if not _LOOPS.isdisjoint(innermost.co_names):
        return True
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
