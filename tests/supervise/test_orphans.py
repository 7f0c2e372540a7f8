"""However the primary ends, none of its processes lives on; and who does not leave is ended."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import psutil
import pytest

from aiocluster import Cluster
from aiocluster.events import Exit
from aiocluster.settings import StartMethod
from tests.support.seeds import new_random
from tests.support.serving import serving, wait_until_it_ignores

from .inside_cluster import serve
from .test_cluster import busy

ROOT = Path(__file__).parent.parent.parent

PRIMARY = """
import asyncio, sys
from aiocluster import Cluster
from tests.supervise import test_agents, test_cluster, test_orphans

async def main(phase, start_method):
    target = test_orphans.serve_and_take_long_to_leave if phase == "stop" else test_cluster.serve
    cluster = Cluster(target, workers=3, agents={"counter": test_agents.count}, start_method=start_method)
    print(phase == "start" and "now", flush=True)
    async with cluster:
        if phase == "reload":
            print("now", flush=True)
            while True:
                await cluster.reload()
        await asyncio.sleep(0.3)
        print("now", flush=True)
    print("stopped", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""

ENDS = {
    "SIGKILL": [signal.SIGKILL],
    "SIGSEGV": [signal.SIGSEGV],
    "SIGABRT": [signal.SIGABRT],
    "SIGSTOP, SIGKILL": [signal.SIGSTOP, signal.SIGKILL],
}


async def serve_and_take_long_to_leave() -> None:
    try:
        await serve()
    finally:
        await asyncio.sleep(0.5)


def session(leader: int) -> list[psutil.Process]:
    """The processes of that session, whoever their parents are by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError):
            pass
    return found


def end_primary(phase: str, end: str, start_method: str, delay: float) -> int:
    """Starts a primary, ends it so many seconds into the phase, and sees to it that all its processes end.

    Returns:
        How many there were at that moment.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", PRIMARY, phase, start_method],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process, process.stdout as stdout:
        try:
            while stdout.readline() != b"now\n":
                assert process.poll() is None
            select.select([stdout], [], [], delay)  # or until it has stopped
            there = len(session(process.pid))
            for number in ENDS[end]:
                process.send_signal(number)
            process.wait(10)
            deadline = time.monotonic() + 5
            while left := session(process.pid):
                assert time.monotonic() < deadline, f"left after {end} at {phase} + {delay:.3f} s: {left}"
                time.sleep(0.01)
        finally:
            for left_over in session(process.pid):
                left_over.kill()
    return there


@pytest.mark.parametrize(
    ("phase", "end", "start_method", "delay"),
    [
        ("start", "SIGKILL", "spawn", 0.05),
        ("start", "SIGSEGV", "template", 0.3),
        ("reload", "SIGABRT", "spawn", 0.4),
        ("reload", "SIGSTOP, SIGKILL", "template", 0.1),
        ("stop", "SIGKILL", "template", 0.0),
        ("stop", "SIGSTOP, SIGKILL", "spawn", 0.2),
    ],
)
def test_no_process_outlives_the_primary(phase: str, end: str, start_method: str, delay: float) -> None:
    assert end_primary(phase, end, start_method, delay) >= 1


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_no_process_outlives_the_primary_at_any_moment() -> None:
    choose = new_random()
    there = [
        end_primary(
            choose.choice(["start", "reload", "stop"]),
            choose.choice([*ENDS]),
            choose.choice(get_args(StartMethod)),
            choose.uniform(0, 1.0),
        )
        for _ in range(50)
    ]
    print(f"{sum(there)} processes in 50 clusters, none left")


# ---- who does not leave


async def test_one_that_ignores_sigterm_is_killed_at_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    cluster = Cluster(busy, workers=1, graceful_timeout=0.2)
    async with cluster, cluster.events("exit") as heard:
        (worker,) = cluster.workers.values()
        await asyncio.to_thread(wait_until_it_ignores, signal.SIGTERM, worker.pid)
        began = time.monotonic()
        await cluster.stop()
        assert 2 < time.monotonic() - began < 20
        exit: Exit = await anext(heard)
        assert (exit.worker, exit.code, exit.signal) == (worker, None, signal.SIGKILL)
        assert worker.exited_after_disconnect
    assert "has not left in time: SIGTERM" in caplog.text
    assert "has not left in time: SIGKILL" in caplog.text


async def test_one_that_is_stopped_is_ended_too() -> None:
    cluster = Cluster(serve, workers=1, graceful_timeout=0.2)
    async with serving(cluster, 1):
        (worker,) = cluster.workers.values()
        worker.kill(signal.SIGSTOP)
        await cluster.stop()
        assert worker.exit_signal == signal.SIGKILL
