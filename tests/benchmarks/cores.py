"""Which core a process runs on, where that decides the figure.

Two processes that take turns are either on two cores, and each turn wakes one up, or share one, and
it only switches. On the machine this was written on that is 70 µs or 5 µs, and the kernel moves
from one to the other as it likes. So a round trip is measured with each process on a core of its
own, all contenders alike; where a process can't choose (macOS, a single CPU) the kernel does.
"""

from __future__ import annotations

import os
import sys


def own(side: int) -> None:
    """Keep this process to the first core (side 0) or the second (side 1).

    Processes started from then on are kept there with it, so the starting side chooses last.
    """
    if sys.platform == "linux" and (cores := available()):
        os.sched_setaffinity(0, {cores[side]})


def available() -> list[int]:
    """The two cores to choose from; empty where there is no choice."""
    if sys.platform != "linux":
        return []
    cores = sorted(os.sched_getaffinity(0))[:2]
    return cores if len(cores) == 2 else []
