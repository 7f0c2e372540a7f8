"""What runs in the workers of `test_slots`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from aiocluster import Cluster, child_process, current_worker

imported_by = os.getpid()

NAME = "NAME_OF_TEST"


def _getenv(name: str) -> str | None:
    """What C code finds in the environment."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    found: bytes | None = getenv(name.encode())
    return None if found is None else found.decode()


def facts() -> dict[str, Any]:
    worker = current_worker()
    return {
        "slot": worker.slot,
        "variable": os.environ.get("AIOCLUSTER_SLOT"),
        "env": os.environ.get(NAME),
        "env of C": _getenv(NAME),
        "zone": time.localtime(0).tm_zone,
        "imported_by": imported_by,
        "cpus of the parent": sorted(os.sched_getaffinity(os.getppid())),
        "cpus": [sorted(os.sched_getaffinity(int(thread))) for thread in os.listdir("/proc/self/task")],
    }


async def tell() -> None:
    await current_worker().send(facts())
    await asyncio.Event().wait()


async def tell_cpus_of_a_child() -> None:
    done = await child_process.exec("grep Cpus_allowed_list /proc/self/status")
    await current_worker().send(done.stdout.split()[1])


async def tell_and_leave() -> None:
    await current_worker().send(facts())


async def has_children() -> None:
    """Tells what others that it starts know of slots: a command, a child of `child_process`, a worker, and an agent."""
    code = "import aiocluster; print(aiocluster.is_worker())"
    plain = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    line = 'echo "slot: $AIOCLUSTER_SLOT"'
    child = await child_process.exec(line)
    told = [plain.stdout.strip(), child.stdout.strip()]
    cluster = Cluster(tell, workers=1, agents={"agent": tell})
    async with cluster.events("message") as heard, cluster:
        nested = sorted(
            [str(facts["slot"]), facts["variable"]] for facts in [(await anext(heard)).message for _ in "12"]
        )
    await current_worker().send([*told, *nested])
