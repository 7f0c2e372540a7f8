"""P7: the memory of an idle worker: its proportional share (PSS), as /proc/PID/smaps_rollup tells it.

Each of four workers listens on the shared port and has nothing to do. A page that several processes share counts for
each with its share: so does the primary's, and a template's.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from aiocluster import Primary
from aiocluster.settings import StartMethod

from . import idle_worker
from .measurement import Comparison, Contender, Measurement, OwnContender, Sample, at_most
from .own_process import target
from .peers import node
from .programs import ProgramFailed, answer

WORKERS = 4


async def memory_of_a_worker(start_method: StartMethod) -> float:
    """In the primary: bytes."""
    async with Primary(target(idle_worker.listen), start_method=start_method) as primary:
        processes = [await primary.fork() for _ in range(WORKERS)]
        for process in processes:
            await process.wait_for("listening")
        return sum(proportional_share(process.pid) for process in processes) / WORKERS


def proportional_share(pid: int) -> int:
    """Bytes."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _measured(command: list[str]) -> Sample:
    if sys.platform != "linux":
        raise ProgramFailed("there is no /proc/PID/smaps_rollup here")
    return Sample(answer(command))


MEASUREMENT = Measurement(
    "P7",
    "memory of an idle worker",
    "B",
    contenders=(
        OwnContender(
            "aiocluster, template", lambda checkout: _measured(checkout.python(memory_of_a_worker, "template"))
        ),
        Contender("Node cluster", lambda: _measured(node("idle.js", str(WORKERS))), needs=("node",)),
        OwnContender("aiocluster, spawn", lambda checkout: _measured(checkout.python(memory_of_a_worker, "spawn"))),
    ),
    comparisons=(
        Comparison("aiocluster, template", "Node cluster", at_most(0.4)),
        Comparison("aiocluster, spawn", "Node cluster"),
    ),
)
