"""Process titles, as shown by ``ps``: ``aiocluster shop: worker 2 (shop.web:app)``.

With the extra ``titles`` they are setproctitle's. Without it, on Linux, they are written over the arguments that this
process was started with, as far as these reach (``arg_start`` and ``arg_end`` in proc_pid_stat(5)): what a worker is
started with is long enough, ``python app.py`` is not for every title.
"""

from __future__ import annotations

import contextlib
import sys

_ARG_START, _ARG_END = 45, 46  # of the fields after the command's name, which is in parentheses
_SET_NAME = 15  # PR_SET_NAME (prctl(2)): what ``ps -o comm`` and ``top`` show


def set_title(cluster: str, role: str, target: str = "") -> None:
    """Sets the title of this process.

    Args:
        cluster: The cluster's name.
        role: What this process is in it, such as ``"worker 2"``.
        target: What it runs; "": nothing of the user's.
    """
    title = f"aiocluster {cluster}: {role}" + (f" ({target})" if target else "")
    try:
        from setproctitle import setproctitle
    except ImportError:
        if sys.platform == "linux":
            with contextlib.suppress(OSError, ValueError, IndexError, ImportError):  # it is no more than a name
                overwrite_arguments(title)
    else:
        setproctitle(title)


def overwrite_arguments(title: str) -> None:
    """Writes the title over this process's arguments, and its beginning over its name. Linux only.

    Raises:
        OSError: There is no ``/proc``.
        ValueError: ``/proc/self/stat`` does not tell where the arguments are.
        IndexError: Likewise.
        ImportError: This Python has no ctypes.
    """
    import ctypes

    with open("/proc/self/stat", "rb") as stat:
        fields = stat.read().rpartition(b")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    if not 0 < start < end:
        raise ValueError("where this process has its arguments is not told")
    written = title.encode("utf-8", "surrogateescape")[: end - start - 1].ljust(end - start, b"\0")
    ctypes.memmove(start, written, len(written))
    ctypes.CDLL(None).prctl(_SET_NAME, title.encode("utf-8", "surrogateescape"), 0, 0, 0)
