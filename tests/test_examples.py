"""The examples run; the README's program is one of them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.support.programs import environment, listening_address
from tests.support.serving import EXAMPLES, wait_until_it_is_up

README = Path(__file__).parent.parent / "README.md"


def test_demo() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "demo.py")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    answers = Counter(re.findall(r"answered by (\d+)$", done.stdout, re.MULTILINE))
    assert sorted(answers.values()) == [3, 3, 3, 3]
    assert "12 requests, answered by 4 processes: 3 / 3 / 3 / 3" in done.stdout


def test_devices() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "devices.py")]
    own = {"DEVICES": "3 GPU-8932f937"}
    done = subprocess.run(command, env={**environment(), **own}, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "slot 0 has device 3",
        "slot 1 has device GPU-8932f937",
        "a worker has ended, and the next one in slot 0 has device 3",
    ]


def test_hello_is_the_readmes_program() -> None:
    found = re.search(r"```python\n# hello.py\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    assert (EXAMPLES / "hello.py").read_text().endswith(found[1])


def test_hello(tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text((EXAMPLES / "hello.py").read_text().replace("8000", "0"))
    command = [sys.executable, "-W", "error", str(script)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            address = listening_address(process.pid)
            wait_until_it_is_up(process.pid)
            assert process.stdout is not None
            process.send_signal(signal.SIGTERM)
            output = process.stdout.read()
            assert process.wait(10) == 0
            assert len(re.findall(r"^worker \d+ left: exit code 0$", output, re.MULTILINE)) == 4, output
        finally:
            process.kill()
    assert address.port > 0


def test_by_load() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "by_load.py")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    first, *others = re.findall(r"a worker starts in slot (\d)$", done.stdout, re.MULTILINE)
    assert first == "0"
    assert others == ["1", "2", "3"][: len(others)]
    assert "quiet: 1 worker\n" in done.stdout
    assert f"answers later: {1 + len(others)} workers\n" in done.stdout
    assert others


def test_rate_limit() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "rate_limit.py")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [line.rpartition(": ")[2] for line in done.stdout.splitlines()]
    assert answers == ["200 OK"] * 5 + ["429 Too Many Requests"] * 2 + ["200 OK"] * 2
    assert len(set(re.findall(r"in slot (\d)", done.stdout))) == 3


def test_sessions() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "sessions.py")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "the other worker: hello alice",
        "logged out: hello None",
        "flag:closed is True",
        "slot 0: we are closed",
        "slot 1: we are closed",
    ]
