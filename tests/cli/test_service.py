"""``aiocluster run`` as a service: of systemd, and as process 1 of a container."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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
    method = ["--start-method", "template"] if kind == "path" else []
    method = []
    with listening(name) as systemd:
        with command("-w", "1", *method, TARGET, sock, NOTIFY_SOCKET=name, WATCHDOG_USEC="200000") as process:
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
    assert statuses[0] == "starting: 1 of the workers do not serve yet"
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
