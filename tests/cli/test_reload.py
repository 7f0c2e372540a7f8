"""``aiocluster run --reload``, as somebody uses it who edits a program."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.support.programs import environment, listening_address
from tests.support.serving import ask

SERVER = """
import asyncio

VERSION = 1

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\n%d" % VERSION)
    writer.close()

async def serve():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()
"""


def version(number: int) -> str:
    return SERVER.replace("VERSION = 1", f"VERSION = {number}")


@contextmanager
def edited(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Runs the command in this folder, and interrupts it in the end, as Ctrl-C does."""
    command = [sys.executable, "-W", "error", "-m", "aiocluster", "run", "-w", "2", *arguments]
    process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process, process.stderr as log:
        try:
            yield process, log
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            for child in psutil.Process(process.pid).children() if process.poll() is None else ():
                child.kill()
            process.kill()


def until(log: IO[str], text: str) -> str:
    """Reads the log to the end of the line with this text. Returns what it has read."""
    read = ""
    for line in log:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} is not in:\n{read}")


async def test_a_program_that_is_edited(tmp_path: Path) -> None:
    """It is broken at first, is corrected, changed, broken again and corrected again."""
    app = tmp_path / "edited_of_test.py"
    app.write_text(SERVER + "def half(:\n")
    with edited(tmp_path, "--reload", "edited_of_test:serve") as (process, log):
        told = until(log, "waiting for a file to change")
        assert told.count("SyntaxError: ") == 1
        assert "def half(:" in told
        assert "/aiocluster/_" not in told, "only the application's own frames"

        app.write_text(version(1))
        assert "changed: edited_of_test.py; reloading\n" in until(log, "reloaded")
        address = listening_address(process.pid)
        assert [await ask(address) for _ in range(4)] == [1] * 4

        app.write_text(version(2))
        until(log, "reloaded")
        assert [await ask(address) for _ in range(4)] == [2] * 4
        workers = {child.pid for child in psutil.Process(process.pid).children()}
        assert len(workers) == 2

        app.write_text(version(3) + "\nraise LookupError('broken by an edit')\n")
        told = until(log, "LookupError: broken by an edit\n")
        assert "the changed code can't start, the old workers stay until the next change" in told
        assert told.count("Traceback") == 1
        assert "/aiocluster/_" not in told
        assert [await ask(address) for _ in range(4)] == [2] * 4
        assert workers <= {child.pid for child in psutil.Process(process.pid).children()}

        app.write_text(version(4))
        told = until(log, "reloaded")
        assert "broken" not in told, "it was told once"
        assert [await ask(address) for _ in range(4)] == [4] * 4
        assert not workers & {child.pid for child in psutil.Process(process.pid).children()}


async def test_a_script_that_raises_by_itself_is_told_once_a_change(tmp_path: Path) -> None:
    """Its workers are online by then: it is no failed start. The same error is told again after each change."""
    script = tmp_path / "script_of_test.py"
    script.write_text("raise LookupError('of test')\n")
    with edited(tmp_path, "--reload", "script_of_test.py") as (_, log):
        first = until(log, "waiting for a file to change")
        script.write_text("raise LookupError('of test')\n# edited")
        second = until(log, "it is started again when a file changes")
        script.write_text(f"{SERVER}\nasyncio.run(serve())\n")
        second += until(log, "reloaded")
    for told in (first, second):
        assert told.count("Traceback") == told.count("LookupError: of test") == 1, told
        assert "/aiocluster/_" not in told
    assert "workers run" not in first, "none does"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--reload-include", "*.html"], "no effect without --reload"),
        (["--reload-dir", "no-such-folder"], "no-such-folder"),
        (["--reload", "no_such_module_of_test"], "no_such_module_of_test"),
    ],
)
def test_what_can_not_be_watched_is_refused(tmp_path: Path, options: list[str], why: str) -> None:
    (tmp_path / "app.py").write_text(SERVER)
    command = [sys.executable, "-m", "aiocluster", "run", *options, "app.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert re.search(why, done.stderr)
    assert "Traceback" not in done.stderr


def test_the_whole_system_is_not_watched() -> None:
    command = [sys.executable, "-m", "aiocluster", "run", "--reload", "os:getpid"]
    done = subprocess.run(command, cwd="/", env=environment(), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "--reload-dir" in done.stderr
