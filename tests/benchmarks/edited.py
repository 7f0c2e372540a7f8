"""EDIT: from the change of a file to the first answer of new code, with ``reload_on_change``.

Beside it stands what can't be saved: as many fresh interpreters, started side by side, that import the application.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from aiocluster import Cluster

from .measurement import Comparison, Contender, Measurement, Sample, at_most
from .own_process import python
from .programs import answer

WORKERS = 2
EDITS = 5

APP = """
import uvicorn
from fastapi import FastAPI

VERSION = {version}
app = FastAPI()

@app.get("/")
async def version() -> int:
    return VERSION

def serve():
    uvicorn.run(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
"""


async def edit_to_answer() -> float:
    """In the primary: seconds from a change to the first answer of the new code; the median of some changes."""
    with TemporaryDirectory() as folder:
        module = Path(folder, "app_of_edit.py")
        module.write_text(APP.format(version=0))
        cluster = Cluster("app_of_edit:serve", workers=WORKERS, cwd=folder, reload_on_change=[folder])
        seconds = []
        async with cluster.events("listening") as heard, cluster:
            address = (await anext(heard)).address
            for _ in range(WORKERS - 1):
                await anext(heard)
            for version in range(1, EDITS + 1):
                began = perf_counter()
                module.write_text(APP.format(version=version))
                while await _ask(address.host, address.port) != version:
                    await asyncio.sleep(0.002)
                seconds.append(perf_counter() - began)
                while len(cluster.workers) != WORKERS or not all(
                    w.state == "listening" for w in cluster.workers.values()
                ):
                    await asyncio.sleep(0.01)
        return median(seconds)


async def _ask(host: str, port: int) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        return int((await reader.read()).rpartition(b"\r\n\r\n")[2])
    finally:
        writer.close()


def import_side_by_side() -> float:
    """Seconds until as many interpreters as there are workers have imported the application; the median likewise."""
    with TemporaryDirectory() as folder:
        Path(folder, "app_of_edit.py").write_text(APP.format(version=0))
        command = [sys.executable, "-c", "import app_of_edit"]
        seconds = []
        for _ in range(EDITS + 1):
            began = perf_counter()
            started = [subprocess.Popen(command, cwd=folder) for _ in range(WORKERS)]
            for process in started:
                if process.wait() != 0:
                    raise RuntimeError("the application can't be imported")
            seconds.append(perf_counter() - began)
        return median(seconds[1:])


SWAP, IMPORT = "aiocluster, reload_on_change", "Python that imports it"

MEASUREMENT = Measurement(
    "EDIT",
    f"from an edit of a FastAPI app to its first new answer, {WORKERS} workers",
    "s",
    contenders=(
        Contender(SWAP, lambda: Sample(answer(python(edit_to_answer)))),
        Contender(IMPORT, lambda: Sample(answer(python(import_side_by_side)))),
    ),
    comparisons=(Comparison(SWAP, IMPORT, at_most(1.5)),),
)
