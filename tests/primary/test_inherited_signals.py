"""Signals that whoever started the primary had ignored or blocked: ends are heard, and so is what stops it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ENDS = """
import asyncio, sys
sys.path.insert(0, {root!r})
from aiocluster import Primary, current_worker
from aiocluster.child_process import exec

def end_with_7():
    sys.exit(7)

async def end_of_a_child():
    child = await asyncio.create_subprocess_exec("sh", "-c", "exit 5")
    await current_worker().send(await child.wait())
    await asyncio.sleep(3600)

async def main():
    ends = []
    async with Primary(end_with_7, start_method={method!r}) as primary:
        ends.append((await (await primary.fork()).wait()).code)
    async with Primary(end_of_a_child, start_method={method!r}) as primary, primary.events("message") as heard:
        await primary.fork()
        ends.append((await anext(heard)).message)
    try:
        ends.append((await exec("exit 3")).code)
    except Exception as error:
        ends.append(error)
    print(ends)

if __name__ == "__main__":
    asyncio.run(main())
"""

STAYS = """
import asyncio, sys
sys.path.insert(0, {root!r})
from aiocluster import Cluster

async def stay():
    await asyncio.sleep(3600)

async def main():
    async with Cluster(stay, workers=1) as cluster:
        print("up", flush=True)
        await cluster.serve_forever()

if __name__ == "__main__":
    asyncio.run(main())
"""

LAUNCHER = """
import os, signal, sys
for number in {ignored}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {blocked})
os.execv(sys.executable, [sys.executable, {path!r}])
"""


def started(path: Path, *, ignored: Iterable[int] = (), blocked: Iterable[int] = ()) -> subprocess.Popen[str]:
    """Starts a program with these signals ignored or blocked."""
    code = LAUNCHER.format(ignored=[*map(int, ignored)], blocked=[*map(int, blocked)], path=str(path))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("method", ["spawn", "template"])
@pytest.mark.parametrize("how", ["ignored", "blocked", "both"])
def test_ends_are_heard(how: str, method: str, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(ENDS.format(root=str(ROOT), method=method))
    chosen = {signal.SIGCHLD}
    with started(
        path, ignored=chosen if how != "blocked" else (), blocked=chosen if how != "ignored" else ()
    ) as process:
        try:
            assert process.communicate(timeout=30)[0] == "[7, 5, 3]\n"
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_blocked_signal_stops_a_cluster(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(STAYS.format(root=str(ROOT)))
    with started(path, blocked={signal.SIGTERM, signal.SIGINT, signal.SIGHUP}) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            process.send_signal(number)
            assert process.wait(30) == 0
        finally:
            process.kill()
