"""How many functions are called for one operation: a figure that does not drift with the machine.

They are counted by cProfile in a run of its own, because counting makes a program slower. Each process that takes part
writes its counts to a folder when it has done its part (`counting`), and the driver divides them (`counted`).
"""

from __future__ import annotations

import cProfile
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType

from .measurement import Calls
from .programs import answer

FOLDER = "AIOCLUSTER_BENCH_CALLS"
"""Names the folder for the counts; where it is not set, nothing is counted."""

_RARE = 0.01
"""A function that is called less often for one operation is not listed."""


@contextmanager
def counting(process: str) -> Iterator[None]:
    """Count the calls in this thread during the block, if the driver asked for it.

    Args:
        process: What this process is called in the table. Those of several that have the same name are added up.
    """
    if (folder := os.environ.get(FOLDER)) is None:
        yield
        return
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        counts = {"python": Counter[str](), "c": Counter[str]()}
        for entry in profile.getstats():
            counts["python" if isinstance(entry.code, CodeType) else "c"][_name(entry.code)] += entry.callcount
        Path(folder, f"{process}.{os.getpid()}.json").write_text(json.dumps(counts))


def counted(command: Sequence[str], operations: int) -> dict[str, Calls]:
    """Run a program to its end, and return the calls of its processes for one operation.

    Raises:
        ProgramFailed: It broke.
    """
    with told_to_count(command) as (counting_command, folder):
        answer(counting_command)
        return of_each(folder, operations)


@contextmanager
def told_to_count(command: Sequence[str]) -> Iterator[tuple[list[str], Path]]:
    """The command with which a program's processes count their calls, and the folder where they write them."""
    with tempfile.TemporaryDirectory(prefix="aiocluster-bench-") as folder:
        yield ["env", f"{FOLDER}={folder}", *command], Path(folder)


def of_each(folder: Path, operations: int) -> dict[str, Calls]:
    """The calls for one operation, by the processes' names."""
    totals: dict[str, dict[str, Counter[str]]] = {}
    for file in folder.iterdir():
        counts = json.loads(file.read_text())
        total = totals.setdefault(file.name.partition(".")[0], {"python": Counter(), "c": Counter()})
        for kind, of_functions in counts.items():
            total[kind].update(of_functions)
    return {
        process: Calls(
            total["python"].total() / operations,
            total["c"].total() / operations,
            {
                name: count / operations
                for name, count in (total["python"] + total["c"]).most_common()
                if count / operations >= _RARE
            },
        )
        for process, total in sorted(totals.items())
    }


def _name(code: CodeType | str) -> str:
    if isinstance(code, str):
        return code
    path = Path(code.co_filename)
    return f"{path.parent.name}/{path.name}:{code.co_firstlineno} {code.co_qualname}"
