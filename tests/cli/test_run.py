"""``aiocluster run`` with real servers, and what its reloads read again."""

from __future__ import annotations

import os
import signal
import socket
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

    def notices(self, file: Path, text: str) -> bool:
        """Writes a file. Returns whether it has been noticed so far that it changes."""
        file.write_text(text)
        return f"changed: {file}; reloading" in self._log.read_text()

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

        start = 'env = {B = "2"}\nlog-level = "debug"\nagents = {jobs = "shop:serve"}\n'
        toml.write_text(f"workers = 1\n{start}")
        running.reload()
        assert running.facts() == "1 2 2", "settings in TOML"
        for name in ("agents", "log-level"):
            running.says(f"{name} has changed: that counts from the next start on")

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
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            toml.write_text(f'workers = 2\nenv = {{B = "3"}}\nhealth = "{where}"\n')
            running.reload()
            running.says(f"nothing is reloaded: health: {where} is in use")
        toml.write_text('workers = 2\nenv = {B = "3"}\npreload = "no_such_module_of_test"\n')
        running.reload()
        running.says("the reload has been given up, the old workers stay")
        assert running.workers() == workers
        os.kill(workers[0], signal.SIGKILL)
        assert running.facts() == "2 2 2", "with the old settings"

        later = f'health = "unix:{tmp_path}/health.sock"\ndrain-delay = "1m"\ngraceful-timeout = 5\n'
        toml.write_text(f"workers = 2\n{start}{later}scheduling = 'random'\n")
        running.reload()
        assert [running.facts() for _ in range(2)] == ["2 2 2", "2 2 2"], "more workers"
        assert (tmp_path / "health.sock").exists()
        running.says("scheduling has changed: that counts for ports that are opened from now on")

        running.process.send_signal(signal.SIGTTIN)
        assert running.facts() == "2 2 2"
        running.reload()
        assert [running.facts() for _ in range(3)] == ["2 2 2"] * 3, "as many as before: TOML says the same"

        with toml.open("a") as more:
            more.write(f'reload-dir = "{tmp_path}/2"\n')
        running.reload()
        assert [running.facts() for _ in range(3)] == ["2 2 2"] * 3
        running.until(lambda: running.notices(tmp_path / "2" / "shop.py", f"RELEASE = 3\n{SHOP}"))
        assert running.facts() == "3 2 2", "what has been changed in a folder that is watched from then on"

        running.process.send_signal(signal.SIGTERM)
        running.says("SIGTERM: stopping, up to 65 s")
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
