"""Processor time (user and system) of processes, over a part of what they do.

Unlike the time on the clock it depends little on what else the machine does, so it is the steadier figure.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Mapping, Sequence
from time import perf_counter

import psutil

Processes = Mapping[str, Sequence[int]]
"""What the processes are called in the table, and their pids: ``{"primary": [11], "workers": [12, 13]}``."""


def seconds_used(pid: int) -> float:
    """The processor time that a process has used so far, all its threads together.

    Linux keeps a clock for each process (``clock_getcpuclockid(3)``), exact to the nanosecond. Elsewhere it is what
    psutil says, in hundredths of a second.

    Raises:
        ProcessLookupError: There is no such process.
    """
    if sys.platform == "linux":
        clock = ctypes.c_int()
        if error := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
            raise ProcessLookupError(error, f"the processor time of process {pid} can't be read")
        return time.clock_gettime(clock.value)
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(str(error)) from error
    return float(used.user + used.system)


def family(pid: int | None = None) -> Processes:
    """The primary and its workers: a child of this process with all its own children; with a pid, that process.

    For a driver that has started one server, whichever it is: Node's, nginx's and aiocluster's processes are a parent
    and its children.
    """
    primary = psutil.Process().children()[-1] if pid is None else psutil.Process(pid)
    return {"primary": [primary.pid], "workers": [child.pid for child in primary.children(recursive=True)]}


class Timed:
    """Times a part of a program: by the clock, and by the processor time of the processes that take part.

    Args:
        processes: Which.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._cpu: dict[str, float] = {}
        self._began = 0.0

    def begin(self) -> None:
        self._cpu = self._used()
        self._began = perf_counter()

    def end(self) -> None:
        self.seconds = perf_counter() - self._began
        self._cpu = {name: used - self._cpu[name] for name, used in self._used().items()}

    def cpu_of_each(self, operations: float) -> dict[str, float]:
        """Seconds of processor time for one operation, by the processes' names."""
        return {name: used / operations for name, used in self._cpu.items()}

    def rate(self, operations: int) -> dict[str, object]:
        """What a measured program prints whose figure is operations per second: see `programs.sampled`."""
        return {"value": operations / self.seconds, "cpu": self.cpu_of_each(operations)}

    def duration(self, operations: int) -> dict[str, object]:
        """What a measured program prints whose figure is the seconds of one operation."""
        return {"value": self.seconds / operations, "cpu": self.cpu_of_each(operations)}

    def _used(self) -> dict[str, float]:
        return {name: sum(map(seconds_used, pids)) for name, pids in self._processes.items()}
