"""A profile: a thread looks again and again where the others are."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import CodeType
from typing import Any

from ..places import is_idle, is_own, short, whole
from ..thread import OWN_THREADS

_DEEPEST = 150  # frames of a stack: of a deeper one, the outermost
_MOST_STACKS = 20_000  # different ones; what comes beyond is counted and left out
_LONGEST = 3600.0  # seconds

Stack = tuple[CodeType, ...]


def profile(seconds: float, rate: float) -> dict[str, Any]:
    """Looks at all threads but this package's own.

    Args:
        seconds: For how long.
        rate: How often a second.

    Returns:
        ``frames``, each with its ``name``, ``file`` and ``line``; ``stacks``, each with its ``thread``, the numbers of
        its ``frames``, outermost first, how often it was found (``count``), and whether the thread was ``idle``: it
        waited for something to do; how often it has looked (``looks``), and for how many ``seconds``.
    """
    counts: Counter[tuple[str, Stack]] = Counter()
    omitted = looks = 0
    interval = 1.0 / min(1000.0, max(1.0, rate))
    began = time.monotonic()
    end = began + min(_LONGEST, seconds)
    due = began
    while (now := time.monotonic()) < end:
        looks += 1
        for key in _look():
            if key in counts or len(counts) < _MOST_STACKS:
                counts[key] += 1
            else:
                omitted += 1
        due = max(due + interval, now)  # what was missed is not made up for
        time.sleep(max(0.0, min(due, end) - time.monotonic()))
    return {"seconds": time.monotonic() - began, "looks": looks, "omitted": omitted, **_table(counts)}


def _look() -> list[tuple[str, Stack]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    own = threading.get_ident()
    return [
        (names.get(ident, "a thread that Python has not started"), tuple(one.f_code for one in whole(frame)))
        for ident, frame in sys._current_frames().items()
        if ident != own and not names.get(ident, "").startswith(OWN_THREADS)
    ]


def _table(counts: Counter[tuple[str, Stack]]) -> dict[str, Any]:
    numbers: dict[CodeType, int] = {}
    stacks = []
    for (thread, stack), count in counts.items():
        outermost_first = stack[::-1][:_DEEPEST]
        stacks.append(
            {
                "thread": thread,
                "frames": [numbers.setdefault(code, len(numbers)) for code in outermost_first],
                "count": count,
                "idle": is_idle(stack),
            }
        )
    return {"frames": [_frame(code) for code in numbers], "stacks": stacks}


def _frame(code: CodeType) -> dict[str, Any]:
    return {
        "name": code.co_qualname,
        "file": short(code.co_filename),
        "line": code.co_firstlineno,
        "own": is_own(code),
    }
