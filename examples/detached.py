"""A child that outlives its parent.

Seed 004 does this with ``detached: true``, ``stdio: "ignore"`` and ``unref()``. The child goes on writing to a file
after the program that started it has ended. It stops by itself after ``$COUNT`` lines, by default 30, one each second.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from aiocluster import child_process

COUNT = int(os.environ.get("COUNT", "30"))
INTERVAL = float(os.environ.get("INTERVAL", "1"))


def child(path: Path) -> None:
    for _ in range(COUNT):
        with path.open("a") as file:
            file.write("aaa\n")
        time.sleep(INTERVAL)


async def main() -> None:
    descriptor, path = tempfile.mkstemp(suffix=".txt")
    os.close(descriptor)
    process = await child_process.spawn(sys.executable, [__file__, path], stdio="ignore", detached=True)
    print(f"child {process.pid} writes to {path}; its parent ends now")
    await process.aclose()  # a detached child goes on


if __name__ == "__main__":
    if sys.argv[1:]:
        child(Path(sys.argv[1]))
    else:
        asyncio.run(main())
