"""What the command shows, on terminals, in pipes and in files: the log, and what workers print."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import psutil
import pyte
import pytest

from tests.support.programs import ROOT, environment

COMMAND = [sys.executable, "-W", "error", "-m", "aiocluster", "run"]
TARGET = "tests.cli.inside_output:serve"
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def variables(**env: str) -> dict[str, str]:
    """An environment in which nothing decides about colours but ``env``."""
    found = {name: value for name, value in environment().items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    return {**found, **env}


class Run:
    """The command with two workers, whose output goes to files unless something else is given."""

    def __init__(self, folder: Path, *options: str, stdout: Any = None, stderr: Any = None, **env: str) -> None:
        self.path = str(folder / "socket")
        self._files = (folder / "stdout", folder / "stderr")
        with contextlib.ExitStack() as stack:
            out, log = (stack.enter_context(open(name, "wb")) for name in self._files)
            self.process = subprocess.Popen(
                [*COMMAND, "-w", "2", *options, TARGET, self.path],
                cwd=ROOT,
                env=variables(**env),
                stdout=out if stdout is None else stdout,
                stderr=log if stderr is None else stderr,
            )

    @property
    def stdout(self) -> str:
        return self._files[0].read_text()

    @property
    def stderr(self) -> str:
        return self._files[1].read_text()

    async def ask(self, what: str, text: str = "", *, slot: int | None = None) -> bool:
        """Has one worker do that. Returns whether it has done it."""
        path = self.path if slot is None else f"{self.path}.{slot}"
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(json.dumps([what, text]).encode() + b"\n")
        try:
            return await reader.read() == b"done\n"
        finally:
            writer.close()

    async def up(self) -> None:
        """Returns when the banner is there."""
        await self.until(lambda: "workers run" in self.stderr)

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            assert self.process.poll() is None, self.stderr
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(self.process.wait, 30) == 0, self.stderr


@contextlib.contextmanager
def ended(run: Run) -> Iterator[Run]:
    """Ends it if it still runs."""
    try:
        yield run
    finally:
        run.process.kill()  # its workers end with it
        run.process.wait()


def running(folder: Path, *options: str, **given: Any) -> contextlib.AbstractContextManager[Run]:
    return ended(Run(folder, *options, **given))


async def test_a_life_in_lines(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        await run.up()
        await run.ask("print", "one\ntwo\n", slot=0)
        await run.ask("print", "unfinished", slot=0)
        await run.until(lambda: run.stdout.endswith("0 | unfinished"))
        await run.ask("print", "three\n", slot=1)
        await run.until(lambda: run.stdout.endswith("three\n"))
        for _ in range(3):
            await run.ask("fail", slot=0)
        await run.until(lambda: "(3 ×)" in run.stderr)
        assert not await run.ask("exit", "3", slot=1)
        await run.until(lambda: "is in its place" in run.stderr)
        run.process.send_signal(signal.SIGHUP)
        await run.until(lambda: "reloaded" in run.stderr)
        run.process.send_signal(signal.SIGTTIN)
        await run.until(lambda: "instead" in run.stderr)
        await run.end()
    assert run.stdout == "0 | one\n0 | two\n0 | unfinished\n1 | three\n"
    log = re.sub(rf"^{TIME} ", "", run.stderr, flags=re.MULTILINE)
    log = re.sub(r"pid \d+", "pid N", re.sub(r"\d+\.\d s", "S s", log))
    assert [line.strip() for line in log.splitlines() if not line.startswith("0 |   ")] == [
        f"2 workers run {TARGET} (pid N)",
        f"unix:{run.path}",
        "0 | Traceback (most recent call last):",
        "0 | ValueError: of test",
        "0 | ValueError: of test: the same again (2 ×)",
        "0 | ValueError: of test: the same again (3 ×)",
        "error: slot 1 (pid N) has left: it failed (exit code 3)",
        "slot 1 (pid N) is in its place",
        "reloading 2 processes",
        "reloaded 2 processes in S s",
        "3 workers instead of 2",
        "SIGTERM: stopping, up to 30 s; once more to stop at once",
        "stopped",
    ]


async def test_a_worker_that_ends_by_itself_while_all_stop(tmp_path: Path) -> None:
    """As uvicorn does at Ctrl-C, which reaches workers, too."""
    with running(tmp_path, "--drain-delay", "60") as run:
        await run.up()
        run.process.send_signal(signal.SIGTERM)
        await run.until(lambda: "stopping" in run.stderr)
        workers = psutil.Process(run.process.pid).children()
        assert not await run.ask("exit", "0", slot=1)
        await run.until(lambda: not all(worker.is_running() for worker in workers))
        await run.end()
    assert "has left" not in run.stderr


async def test_json(tmp_path: Path) -> None:
    with running(tmp_path, "--log-format", "json", "--log-level", "debug") as run:
        await run.up()
        await run.ask("print", 'said "so"\n\x00\x1b[1m\n', slot=0)
        await run.ask("fail", slot=1)
        assert not await run.ask("exit", "3", slot=1)
        await run.until(lambda: '"replaced"' in run.stderr)
        await run.end()
    printed = [json.loads(line) for line in run.stdout.splitlines()]
    log = [json.loads(line) for line in run.stderr.splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"]) for one in [*printed, *log])
    assert [(one["slot"], one["logger"], one["message"]) for one in printed] == [
        (0, "stdout", 'said "so"'),
        (0, "stdout", "\x00\x1b[1m"),
    ]
    events = {one["event"]: one for one in log if "event" in one}
    (failed,) = [one for one in log if one["logger"] == "stderr"]
    assert failed["message"].startswith("Traceback (most recent call last):\n")
    assert failed["message"].endswith("\nValueError: of test")
    assert failed["slot"] == 1
    first_exit = next(one for one in log if one.get("event") == "exit")
    assert {name: first_exit[name] for name in ("level", "slot", "pid", "code", "signal", "reason")} == {
        "level": "error",
        "slot": 1,
        "pid": failed["pid"],
        "code": 3,
        "signal": None,
        "reason": "failed",
    }
    assert events["up"]["addresses"] == [f"unix:{run.path}"]
    assert events["up"]["pid"] == run.process.pid
    online = [one["slot"] for one in log if one.get("event") == "online"]
    assert sorted(online) == [0, 1, 1]


@pytest.mark.parametrize(
    ("env", "is_coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
    ids=["terminal", "NO_COLOR"],
)
async def test_a_narrow_terminal(tmp_path: Path, env: dict[str, str], is_coloured: bool) -> None:
    path = str(tmp_path / "socket")
    screen = pyte.Screen(40, 24)
    stream = pyte.ByteStream(screen)
    terminal = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "-w", "2", TARGET, path], cwd=ROOT, env=variables(**env), dimensions=(24, 40)
    )
    try:
        shown = await _until(terminal, rb"unix:")
        for slot in (0, 1):
            reader, writer = await asyncio.open_unix_connection(f"{path}.{slot}")
            writer.write(json.dumps(["ask for the terminal", ""]).encode() + b"\n")
            assert await reader.read() == b"done\n"
            writer.close()
            shown += await _until(terminal, rb"True True \d+\r\n")
        terminal.sendintr()
        shown += await _until(terminal, pexpect.EOF)
    finally:
        terminal.close(force=True)
    stream.feed(shown)
    assert (b"\x1b[" in shown) is is_coloured
    assert terminal.exitstatus == 0
    lines = [line.rstrip() for line in screen.display]
    assert re.fullmatch(r"\d\d:\d\d:\d\d 2 workers run tests.cli.inside_", lines[0])
    assert "0 | True True 36" in lines
    assert "1 | True True 36" in lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d stopped", [line for line in lines if line][-1])
    colours = {screen.buffer[lines.index(f"{slot} | True True 36")][0].fg for slot in (0, 1)}
    assert len(colours) == (2 if is_coloured else 1)


async def _until(terminal: Any, pattern: Any) -> bytes:
    await asyncio.to_thread(terminal.expect, pattern, timeout=30)
    after = terminal.after if isinstance(terminal.after, bytes) else b""
    return bytes(terminal.before or b"") + after


async def test_a_reader_that_has_stopped_stops_one_worker_only(tmp_path: Path) -> None:
    """The worker that writes has to wait. The primary neither waits nor grows, and nothing is lost."""
    size = 20_000_000
    ours, theirs = os.pipe()
    with open(ours, "rb") as reading:
        with open(theirs, "wb") as writing:
            run = Run(tmp_path, stdout=writing)
        with ended(run):
            await run.up()
            before = psutil.Process(run.process.pid).memory_info().rss
            flooding = asyncio.create_task(run.ask("flood", str(size), slot=0))
            for _ in range(50):
                assert await run.ask("complain", "still here\n", slot=1)
            run.process.send_signal(signal.SIGTTIN)
            await run.until(lambda: "3 workers" in run.stderr)
            assert not flooding.done()
            lines = b"".join(b"0 | %099d\n" % number for number in range(size // 100))
            assert await asyncio.to_thread(reading.read, len(lines)) == lines
            assert await flooding
            assert psutil.Process(run.process.pid).memory_info().rss < before + 20_000_000
            await run.end()


async def test_no_room_for_stdout_is_said_once(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, running(tmp_path, stdout=full) as run:
        await run.up()
        for slot in (0, 1, 0, 1):
            assert await run.ask("print", "lost\n", slot=slot)
        await run.until(lambda: "stdout takes nothing" in run.stderr)
        await run.end()
    assert run.stderr.count("stdout takes nothing") == 1
    assert "No space left on device" in run.stderr


async def test_nobody_reads(tmp_path: Path) -> None:
    """Both pipes are broken: serving goes on, and the end is in order."""
    ours, theirs = os.pipe()
    with open(theirs, "wb") as writing, running(tmp_path, stdout=writing, stderr=writing) as run:
        with open(ours, "rb") as reading:
            while b"unix:" not in await asyncio.to_thread(reading.readline):
                pass
        writing.close()
        for slot in (0, 1):
            for what in ("print", "complain", "fail"):
                assert await run.ask(what, "lost\n", slot=slot)
        await run.end()


def fails(*arguments: str, **env: str) -> str:
    """Runs the command, which fails. Returns what it says in the end."""
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, env=variables(**env), capture_output=True, timeout=40)
    log = done.stderr.decode()
    assert done.returncode == 1, log
    assert "Traceback" not in log, log
    return log.splitlines()[-1]


def test_workers_that_fail_in_the_same_way_again_and_again(tmp_path: Path) -> None:
    (script := tmp_path / "script.py").write_text("def fail(): raise LookupError('of test')\nfail()\n")
    # Without -W error: a worker that is stopped while it opens the script would tell of an unclosed file.
    command = [sys.executable, "-m", "aiocluster", "run", "-w", "2", "--restart", "2/60", str(script)]
    done = subprocess.run(command, env=variables(), capture_output=True, timeout=60)
    log = done.stderr.decode()
    assert done.returncode == 1, log
    assert log.count("Traceback") == log.count("\nLookupError: of test\n") == 1, log
    assert "LookupError: of test: the same again (2 ×)" in log, "the last line says why"
    assert re.search(r"error: worker \d \(pid \d+\) has failed\n\nTraceback", log)
    assert "/aiocluster/_" not in log, "only the application's own frames"


def test_a_unix_socket_in_use(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path := str(tmp_path / "in use"))
        sock.listen()
        said = fails("-w", "2", TARGET, path)
    assert said.startswith(f"aiocluster: unix:{path} is in use, by pid {os.getpid()} (")


def test_the_address_of_health_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        said = fails("-w", "1", "--health", f"localhost:{port}", TARGET, str(tmp_path / "socket"))
    assert said.startswith(f"aiocluster: health: 127.0.0.1:{port} is in use, by pid {os.getpid()} (")


def test_a_server_that_binds_by_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        said = fails("-w", "2", "http.server", str(sock.getsockname()[1]), "--bind", "127.0.0.1")
    assert "binds an address by itself that is in use" in said
    assert "listening.md#servers-that-bind-by-themselves" in said
