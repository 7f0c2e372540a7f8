"""``aiocluster run`` with real servers, and what its reloads read again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.programs import environment, running_command
from tests.support.serving import ask

APP = "tests.cli.inside_app:app"


@pytest.mark.parametrize(
    "line",
    [
        f"-w 2 uvicorn {APP} --port 0",
        f"-w 2 hypercorn {APP} --bind 127.0.0.1:0",
        f"{APP} --workers 2 --port 0 --no-access-log",
    ],
)
async def test_a_servers_own_command_line_and_an_app(line: str) -> None:
    with running_command(*line.split()) as (process, address):
        workers = {child.pid for child in psutil.Process(process.pid).children()}
        assert len(workers) == 2
        if "hypercorn" in line:  # it accepts by itself: the kernel chooses a worker
            assert await ask(address) in workers
            return
        answered: set[int] = set()
        while answered != workers:  # the first one answers while the other still starts
            answered.add(await ask(address))


def test_a_shell_completes_options_and_the_version_is_told() -> None:
    command = [sys.executable, "-W", "error", "-m", "aiocluster"]
    script = subprocess.run([*command, "completion", "bash"], capture_output=True, text=True, check=True).stdout
    assert "_AIOCLUSTER_COMPLETE" in script
    words = {"COMP_WORDS": "aiocluster run --start", "COMP_CWORD": "2", "_AIOCLUSTER_COMPLETE": "bash_complete"}
    done = subprocess.run(command, env={**environment(), **words}, capture_output=True, text=True, check=True)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == {"--start-method", "--start-timeout"}
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("aiocluster ")


# ---- what a reload reads again

SHOP = """
import asyncio, os

async def serve():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    print("facts", RELEASE, os.environ["A"], os.environ["B"], flush=True)
    async with server:
        await server.serve_forever()
"""


class Running:
    """A command that runs, whose workers print a line of facts when they start."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def facts(self) -> str:
        """Waits for the next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "facts" in line, self._log.read_text()
        return line.partition("facts ")[2].strip()

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def says(self, text: str) -> None:
        """Waits until the log has this text, in one line."""
        self.until(lambda: any(text in line for line in self._log.read_text().splitlines()))

    def workers(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.01)


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Running]:
    """Starts the command in ``folder/current``. Kills what is left of it in the end."""
    log = folder / "log"
    command = [sys.executable, "-W", "error", "-m", "aiocluster", "run", *arguments]
    env = {**environment(), "PWD": str(folder / "current")}
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=folder / "current", env=env, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            yield Running(process, log)
        finally:
            children = psutil.Process(process.pid).children() if process.poll() is None else []
            process.kill()
            for child in children:
                child.kill()


def test_what_a_reload_reads_again(tmp_path: Path) -> None:
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "shop.py").write_text(f"RELEASE = {release}\n{SHOP}")
    (tmp_path / "current").symlink_to("1")
    variables, toml, pid_file = tmp_path / "shop.env", tmp_path / "shop.toml", tmp_path / "shop.pid"
    variables.write_text("A=1\n")
    toml.write_text('workers = 1\nenv = {B = "1"}\n')
    files = ["--env-file", str(variables), "--config", str(toml), "--pid-file", str(pid_file)]
    with started(tmp_path, *files, "shop:serve") as running:
        assert running.facts() == "1 1 1"
        running.until(pid_file.exists)
        assert pid_file.read_text() == f"{running.process.pid}\n"

        variables.write_text("A=2\n")
        running.reload()
        assert running.facts() == "1 2 1", "the file of variables"

        toml.write_text('workers = 1\nenv = {B = "2"}\nmax-lifetime = "1h"\n')
        running.reload()
        assert running.facts() == "1 2 2", "settings in TOML"
        running.says("max_lifetime has changed: that counts from the next start on")

        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").rename(tmp_path / "current")
        running.reload()
        assert running.facts() == "2 2 2", "the code behind a link"

        running.until(lambda: len(running.workers()) == 1)
        workers = running.workers()
        variables.write_text("A\n")
        running.reload()
        running.says(f"nothing is reloaded: --env-file: {variables}, line 1: a line is NAME=VALUE")
        variables.write_text("A=2\n")
        toml.write_text("workers = none\n")
        running.reload()
        running.says(f"nothing is reloaded: {toml} is not valid TOML")
        assert running.workers() == workers, "the old ones stay"

        toml.write_text('workers = 2\nenv = {B = "2"}\n')
        running.reload()
        assert [running.facts() for _ in range(2)] == ["2 2 2", "2 2 2"], "more workers"
        running.until(lambda: len(running.workers()) == 2)

        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        assert not pid_file.exists()


def test_a_pid_file_of_a_process_that_runs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "shop.py").write_text(SHOP)
    pid_file = tmp_path / "shop.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    with started(tmp_path, "--pid-file", str(pid_file), "shop:serve") as running:
        assert running.process.wait(20) == 1
        running._log.read_text().index(f"{pid_file} has the id of process {os.getpid()}, which runs")
    assert pid_file.read_text() == f"{os.getpid()}\n"
    with started(tmp_path, "--pid-file", str(tmp_path / "missing" / "shop.pid"), "shop:serve") as running:
        assert running.process.wait(20) == 2
