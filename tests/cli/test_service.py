"""``aiocluster run`` as a service: of systemd, and as process 1 of a container."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from aiocluster.events import Address
from tests.support.http import fetch
from tests.support.programs import ROOT, environment

from .systemd import listening

TARGET = "tests.cli.inside_service:serve"


@contextlib.contextmanager
def command(*arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Runs ``aiocluster run``, and kills it in the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "aiocluster", "run", *arguments],
        cwd=ROOT,
        env={**environment(), **env},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> str:
    """Waits until it has ended well. Returns what it has logged."""
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert "Traceback" not in log
    return log


@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_systemd_is_told(kind: str, tmp_path: Path) -> None:
    """READY once it listens, RELOADING with the time and READY again, STOPPING; and workers tell it nothing."""
    sock = str(tmp_path / "app.sock")
    name = str(tmp_path / "notify") if kind == "path" else f"@aiocluster-test-{secrets.token_hex(8)}"
    with listening(name) as systemd:
        with command("-w", "1", TARGET, sock, NOTIFY_SOCKET=name, WATCHDOG_USEC="200000") as process:
            ready = systemd.until("READY")
            assert ready == {"READY": "1", "MAINPID": str(process.pid)}
            _, seen = await fetch(Address("unix", path=sock), "/")
            assert seen.split()[1:] == []

            asked = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            process.send_signal(signal.SIGHUP)
            reloading = systemd.until("RELOADING")
            assert int(reloading["MONOTONIC_USEC"]) >= asked
            assert systemd.until("READY") == {"READY": "1"}
            _, new = await fetch(Address("unix", path=sock), "/")
            assert new != seen

            process.send_signal(signal.SIGTERM)
            systemd.until("STOPPING")
            ended(process)
    told = [*(next(iter(message)) for message in systemd.heard)]
    assert [one for one in told if one != "STATUS"] == ["READY", "RELOADING", "READY", "STOPPING"]
    statuses = [message["STATUS"] for message in systemd.heard if "STATUS" in message]
    assert "starting: 0 of 1 workers serve" in statuses
    assert "ready: 1 worker serves" in statuses
    assert systemd.beats > 0


async def test_the_watchdog_hears_nothing_while_the_loop_is_blocked(tmp_path: Path) -> None:
    """Stopped by SIGSTOP the primary answers nobody, as one whose loop is blocked; and then it goes on."""
    name = str(tmp_path / "notify")
    with listening(name) as systemd:
        with command(
            "-w", "1", TARGET, str(tmp_path / "app.sock"), NOTIFY_SOCKET=name, WATCHDOG_USEC="100000"
        ) as process:
            systemd.until("READY")
            systemd.until("WATCHDOG")
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            systemd.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # what it said before
                while True:
                    systemd.next()
            systemd.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                systemd.next()
            systemd.socket.settimeout(40)
            process.send_signal(signal.SIGCONT)
            systemd.until("WATCHDOG")
            process.send_signal(signal.SIGTERM)
            ended(process)


async def test_sockets_that_systemd_passes_are_served(tmp_path: Path) -> None:
    """Their clients wait in the kernel before it starts, and during a restart."""
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        address = Address("unix", path=path)
        # The pid is known only to the process itself, as systemd knows it: by a shell that becomes the program.
        run = f"exec {sys.executable} -W error -m aiocluster run -w 1 {TARGET} {path}"
        script = f"LISTEN_PID=$$ LISTEN_FDS=1 {run} 3<&{sock.fileno()}"
        for _ in range(2):
            client = asyncio.create_task(fetch(address, "/"))
            process = subprocess.Popen(
                ["/bin/bash", "-c", script],
                cwd=ROOT,
                env=environment(),
                pass_fds=[sock.fileno()],
                stderr=subprocess.PIPE,
                text=True,
            )
            with process:
                try:
                    status, body = await client
                    assert (status, body.split()[1:]) == (200, [])
                    process.send_signal(signal.SIGTERM)
                    assert "ignoring" not in await asyncio.to_thread(ended, process)
                finally:
                    client.cancel()
                    process.kill()
        assert os.path.exists(path)


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare(1)")
async def test_as_process_1(tmp_path: Path) -> None:
    """It reaps what a worker leaves behind, and does what signals ask for: a reload, and a graceful stop."""
    path, left = str(tmp_path / "app.sock"), tmp_path / "left"
    target = tmp_path / "leaving_of_test.py"
    target.write_text(
        "import subprocess, sys\n"
        "from tests.cli.inside_service import serve as go_on\n"
        "async def serve():\n"
        "    # A shell that ends at once leaves its background job to process 1.\n"
        f"    subprocess.run(['sh', '-c', 'sleep 0.01 & echo $! > {left}'], check=True)\n"
        "    await go_on()\n"
    )
    container = ["unshare", "-pf", "--kill-child", "--mount-proc"]
    with subprocess.Popen(
        [
            *container,
            sys.executable,
            "-W",
            "error",
            "-m",
            "aiocluster",
            "run",
            "-w",
            "1",
            "leaving_of_test:serve",
            path,
        ],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            first = await _answer(path)
            (one,) = psutil.Process(process.pid).children()
            assert left.read_text().strip().isdecimal()
            while len(one.children()) > 1:
                await asyncio.sleep(0.05)
            one.send_signal(signal.SIGHUP)
            while await _answer(path) == first:
                pass
            one.send_signal(signal.SIGTERM)
            await asyncio.to_thread(ended, process)
        finally:
            process.kill()


async def _answer(path: str) -> str:
    """The first answer there: nobody may listen yet."""
    while True:
        try:
            status, body = await fetch(Address("unix", path=path), "/")
        except OSError:
            await asyncio.sleep(0.02)
        else:
            assert status == 200
            return body
