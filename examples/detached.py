"""A child that outlives its parent.

The child writes a line to a file each second, also after the program that has started it has ended. It ends by itself
after ``$COUNT`` lines, by default 30. In Node this is ``spawn`` with ``detached: true``, ``stdio: "ignore"`` and
``unref()``.

    $ COUNT=5 python detached.py
    child 4712 writes to /tmp/….txt; its parent ends now
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
