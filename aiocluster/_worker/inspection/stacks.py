"""The stacks of all threads."""

from __future__ import annotations

import os
import sys
import threading
from types import CodeType
from typing import Any

from ..places import is_own, short, whole
from ..thread import OWN_THREADS

_DEEPEST = 200  # frames of a stack: of a deeper one, the innermost


def stacks() -> list[dict[str, Any]]:
    """Returns all threads but this one, the main thread first: ``name``, ``id``, and ``stack``, innermost first."""
    names = {thread.ident: thread for thread in threading.enumerate()}
    found = []
    for ident, frame in sys._current_frames().items():
        thread = names.get(ident)
        if ident == threading.get_ident():
            continue
        found.append(
            {
                "name": thread.name if thread is not None else "a thread that Python has not started",
                "id": _native_id(thread),
                "is_main": thread is threading.main_thread(),
                "is_daemon": thread is not None and thread.daemon,
                "stack": [
                    line(one.f_code, one.f_lineno) for one, _ in zip(whole(frame), range(_DEEPEST), strict=False)
                ],
            }
        )
    return sorted(found, key=lambda one: (not one["is_main"], one["name"].startswith(OWN_THREADS), one["name"]))


def _native_id(thread: threading.Thread | None) -> int | None:
    if thread is threading.main_thread() and sys.platform == "linux":
        return os.getpid()  # a fork does not change what Python knows of it
    return None if thread is None else thread.native_id


def line(code: CodeType, number: int | None) -> dict[str, Any]:
    """One line of a stack. ``own``: whether it is the application's own code."""
    return {
        "file": short(code.co_filename),
        "path": code.co_filename,
        "line": number or code.co_firstlineno,
        "function": code.co_qualname,
        "own": is_own(code),
    }
