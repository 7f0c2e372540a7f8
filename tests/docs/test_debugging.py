"""The recipes of the page on debugging do what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.docs.dap import debugging
from tests.docs.ports import free_port
from tests.docs.snippets import blocks, titled
from tests.support.programs import listening_address, printed, whole_lines
from tests.support.serving import ask, wait_until_it_is_up

PAGE = "how-to/debugging.md"


def program(tmp_path: Path, title: str, *changes: tuple[str, str]) -> Path:
    """A program of the page as a file, with some of its text replaced."""
    text = titled(PAGE, title)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    script = tmp_path / title
    script.write_text(text)
    return script


def run(script: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=whole_lines(), input=stdin, capture_output=True, text=True, timeout=40)
    assert done.returncode == 0, done.stderr
    return done


@contextmanager
def running(script: Path) -> Iterator[subprocess.Popen[str]]:
    """Runs it until SIGTERM, once it is ready for that."""
    command = [sys.executable, str(script)]
    process = subprocess.Popen(
        command, env=whole_lines(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        try:
            yield process
            wait_until_it_is_up(process.pid)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def wait_until_gone(pid: int) -> None:
    """Returns when that process, which is no child of ours, has ended."""
    try:
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    except psutil.NoSuchProcess:
        pass


def line_with(script: Path, text: str) -> int:
    """The number of the one line that has this text in it."""
    (number,) = (number for number, line in enumerate(script.read_text().splitlines(), 1) if text in line)
    return number


def heard(stream: IO[str] | None, text: str) -> str:
    """Reads until a line with this text in it. Returns all that was read."""
    assert stream is not None
    lines = ""
    while line := stream.readline():
        lines += line
        if text in line:
            return lines
    raise AssertionError(f"{text!r} did not come, only:\n{lines}")


def adapter_of(port: int) -> int:
    """The pid of debugpy's own process, which listens for editors and belongs to no one."""
    for connection in psutil.net_connections("tcp"):
        is_there = connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
        if is_there and connection.pid:
            return connection.pid
    raise AssertionError(f"nobody listens on {port}")


# ---- debuggers


async def test_a_debugger_on_one_worker(tmp_path: Path) -> None:
    """It stops at a breakpoint there, tells what is in scope, and the others go on."""
    script = program(tmp_path, "one_worker.py", ("8000", "0"), ("5678", "0"))
    line = line_with(script, "# a breakpoint")
    with running(script) as process:
        found = re.fullmatch(r"debugger: port (\d+) pid (\d+)\n", await printed(process))
        assert found is not None
        port, pid = map(int, found.groups())
        adapter = adapter_of(port)
        address = listening_address(process.pid)
        workers: set[int] = set()
        while len(workers) < 4:  # from here on each has its turn
            workers.add(await ask(address))
        async with debugging(port) as debugger:
            await debugger.attach({str(script): [line]})
            requests = [asyncio.ensure_future(ask(address)) for _ in range(8)]
            thread = (await debugger.stopped())["threadId"]
            frame = (await debugger.request("stackTrace", threadId=thread))["stackFrames"][0]
            assert (frame["name"], frame["line"]) == ("answer", line)
            answer = await debugger.request("evaluate", expression="os.getpid()", frameId=frame["id"])
            assert answer["result"] == str(pid)
            others: set[int] = set()
            while others != workers - {pid}:  # these go on
                done, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
                others |= {request.result() for request in done}
            await debugger.request("setBreakpoints", source={"path": str(script)}, breakpoints=[])
            await debugger.request("continue", threadId=thread)
            assert set(await asyncio.gather(*requests)) == workers
    wait_until_gone(adapter)


async def test_a_debugger_from_the_start(tmp_path: Path) -> None:
    port = free_port()
    script = program(tmp_path, "from_the_start.py", ("5678", str(port)))
    line = line_with(script, "work begins")
    command = [sys.executable, str(script)]
    adapter = 0
    with subprocess.Popen(command, env=whole_lines(), stdout=subprocess.PIPE, text=True) as process:
        try:
            while not adapter:
                try:
                    async with debugging(port) as debugger:
                        adapter = adapter_of(port)
                        await debugger.attach({str(script): [line]})
                        await debugger.stopped()
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
            assert await printed(process) == "work begins\n"
            assert await asyncio.to_thread(process.wait, 20) == 0
        finally:
            process.kill()
    wait_until_gone(adapter)


def test_vs_codes_settings_are_for_that_port() -> None:
    (settings,) = json.loads(titled(PAGE, "launch.json"))["configurations"]
    assert f'"DEBUG_PORT": "{settings["connect"]["port"]}"' in titled(PAGE, "one_worker.py")
    assert str(settings["connect"]["port"]) in titled(PAGE, "from_the_start.py")


def test_breakpoint(tmp_path: Path) -> None:
    done = run(program(tmp_path, "plain_breakpoint.py"), stdin="p answer + 100\nc\n")
    assert "(Pdb) 142" in done.stdout
    assert "the worker sent 42" in done.stdout


# ---- from outside


def test_py_spy(tmp_path: Path) -> None:
    with running(program(tmp_path, "stacks.py")) as process:
        assert process.stdout is not None
        workers = [process.stdout.readline().split()[-1] for _ in range(2)]
        spy = Path(sys.executable).with_name("py-spy")
        command = [str(spy), "dump", "--pid", str(process.pid), "--subprocesses"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if "ermission" in done.stderr:
        pytest.skip("this user must not trace other processes")
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^Process (\d+): ", done.stdout, re.MULTILINE)) == {str(process.pid), *workers}
    assert "run_forever" in done.stdout


def test_dump_by_signal(tmp_path: Path) -> None:
    with running(program(tmp_path, "stacks.py")) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline().removeprefix("kill -USR1 "))
        os.kill(worker, signal.SIGUSR1)
        assert "most recent call first" in heard(process.stderr, "in run_until_complete")
        os.kill(worker, signal.SIGUSR2)
        assert "in waiter" in heard(process.stderr, "await asyncio.sleep(3600)")


# ---- from inside


def test_stuck(tmp_path: Path) -> None:
    script = program(tmp_path, "stuck.py")
    line = line_with(script, "# the bug")
    done = run(script)
    assert done.stdout == "worker 1 ended by SIGABRT\n"
    said = r"ERROR:aiocluster.cluster:worker 1 \(pid \d+\) has been blocked for \d+\.\d s: its stacks go "
    assert re.match(said + "to stderr\n", done.stderr)
    assert f'most recent call first):\n  File "{script}", line {line} in serve' in done.stderr
    assert f'File "{script.name}", line {line} in serve' in told_of("Stuck")


@pytest.mark.parametrize(
    "how",
    ['exec_args=["-X", "dev"]', 'exec_args=["-X", "dev"], loop="asyncio"', 'env={"PYTHONASYNCIODEBUG": "1"}'],
    ids=["dev", "dev-asyncio", "variable"],
)
def test_debug_mode(how: str, tmp_path: Path) -> None:
    done = run(program(tmp_path, "careless.py", ('exec_args=["-X", "dev"]', how)))
    assert "RuntimeWarning: coroutine 'forgotten' was never awaited" in done.stderr
    assert "Coroutine created at (most recent call last)" in done.stderr
    assert re.search(r"^Executing <Task .*> took \d+\.\d+ seconds$", done.stderr, re.MULTILINE), done.stderr


def test_why_it_ended(tmp_path: Path) -> None:
    assert run(program(tmp_path, "why.py")).stdout == told_of("Why it ended")


def test_log(tmp_path: Path) -> None:
    def anonymous(text: str) -> list[str]:
        """What was logged, without pids; the order of what two processes write is up to them."""
        return sorted(re.sub(r"^\d+ |(?<=pid )\d+", "", text, flags=re.MULTILINE).splitlines())

    done = run(program(tmp_path, "logs.py"))
    assert anonymous(done.stdout) == anonymous(told_of("The log"))


def told_of(heading: str) -> str:
    """What the page says that the program under that heading prints."""
    (found,) = (block.text for block in blocks(PAGE) if block.heading == heading and block.language == "text")
    return found
