"""What runs in the workers of `test_template`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
from typing import Any

from aiocluster import current_worker

imported_by = os.getpid()


lock = threading.Lock()


async def stay() -> None:
    await asyncio.get_running_loop().create_future()


async def tell() -> None:
    facts: dict[str, Any] = {
        "parent": os.getppid(),
        "imported_by": imported_by,
        "random": random.random(),
        "env": os.environ.get("WHO"),
        "cwd": os.getcwd(),
        "is_locked": lock.acquire(timeout=1),
        "decimal": "decimal" in sys.modules,
        "argv": sys.argv[1:],
    }
    await current_worker().send(facts)
    await stay()


def end_with_7() -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    sys.exit(7)
