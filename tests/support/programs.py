"""The command and the examples as processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from aiocluster.events import Address

from .serving import EXAMPLES, wait_until_it_is_up

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    return {**os.environ, "PORT": "0", "PYTHONPATH": str(ROOT)}


def whole_lines() -> dict[str, str]:
    """An environment in which each flushed print arrives as one piece, even if several processes print."""
    return {name: value for name, value in environment().items() if name != "PYTHONUNBUFFERED"}


def listening_address(pid: int) -> Address:
    """Where that process listens. Waits until it does; fails if it ends before."""
    process = psutil.Process(pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return Address("tcp4", *connection.laddr)
        time.sleep(0.005)
    raise AssertionError("it ended without listening")


async def printed(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return await asyncio.to_thread(process.stdout.readline)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Waits until an example has ended with exit code 0. Returns what it still printed, and what it wrote to stderr."""
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 0, stderr
    return stdout, stderr


@contextmanager
def running_command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Address]]:
    """Runs the command, waits until its workers are online and a port is open, and stops it."""
    command = [sys.executable, "-W", "error", "-m", "aiocluster", "run", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process, process.stderr as stderr:
        try:
            address = listening_address(process.pid)
            wait_until_it_is_up(process.pid)
            yield process, address
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                log = stderr.read()
                code = process.wait(10)
            finally:
                process.kill()
    assert code == 0, log
    assert "Traceback" not in log, log


@contextmanager
def running_server(name: str, number: signal.Signals, **env: str) -> Iterator[tuple[subprocess.Popen[str], Address]]:
    """Runs an example, ends it by that signal, and expects that it writes nothing to stderr."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    process = subprocess.Popen(
        command, env={**environment(), **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        try:
            yield process, listening_address(process.pid)
            wait_until_it_is_up(process.pid)
            process.send_signal(number)
            assert (process.stderr.read(), process.wait(20)) == ("", 0)
        finally:
            for child in psutil.Process(process.pid).children() if process.poll() is None else ():
                child.kill()
            process.kill()


@contextmanager
def started_example(name: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Starts an example. Kills what is left of it in the end."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    process = subprocess.Popen(
        command, env={**whole_lines(), **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        try:
            yield process
        finally:
            for child in psutil.Process(process.pid).children() if process.poll() is None else ():
                child.kill()
            process.kill()


@contextmanager
def running_example(name: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Runs an example, ends it by SIGINT, and expects that it then writes nothing."""
    with started_example(name, **env) as process:
        yield process
        process.send_signal(signal.SIGINT)
        assert ended(process) == ("", "")
