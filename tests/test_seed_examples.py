"""The examples that answer to the seeds' programs run, and print what they are there to show."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.serving import EXAMPLES, wait_until_it_handles
from tests.test_command import environment


@contextmanager
def running(name: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Runs an example until SIGINT, which it takes without a word."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    process = subprocess.Popen(
        command, env={**environment(), **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        try:
            yield process
            wait_until_it_handles(signal.SIGINT, process.pid)
            process.send_signal(signal.SIGINT)
            assert (process.stderr.read(), process.wait(20)) == ("", 0)
        finally:
            for child in psutil.Process(process.pid).children() if process.poll() is None else ():
                child.kill()
            process.kill()
