"""What a process uses, as the kernel counts it: proc(5), on Linux."""

from __future__ import annotations

import os
from typing import NamedTuple


class Usage(NamedTuple):
    """What a process uses.

    Attributes:
        cpu_seconds: Processor time so far, of all its threads, user and system.
        memory: Bytes of resident memory.
    """

    cpu_seconds: float
    memory: int


def usage(pid: int) -> Usage | None:
    """Returns what the process uses; None if it has ended, or where there is no ``/proc``."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the program's name in parentheses, and may hold any bytes.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    user, system, pages = int(fields[11]), int(fields[12]), int(fields[21])  # fields 14, 15 and 24 of proc_pid_stat(5)
    return Usage((user + system) / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))
