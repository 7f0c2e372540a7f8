"""Signals, from the first instant of a cluster to the last: of the primary, of its workers, of all at once."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "inside_signals.py"

NEEDS_UNSHARE = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare(1)"
)


class Program:
    """A running mode of `inside_signals`, the leader of a session."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.pid = process.pid
        self.stdout = process.stdout
        self.lines: list[str] = []

    def until(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Reads until so many lines match. Returns the last match."""
        while True:
            line = self.stdout.readline()
            assert line, self.lines
            self.lines.append(line.rstrip("\n"))
            if found := re.match(pattern, self.lines[-1]):
                count -= 1
                if count == 0:
                    return found

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def send_alone(self, number: signal.Signals) -> None:
        """Sends it, and waits until it has been taken: of two that are pending, the kernel keeps one."""
        self.send(number)
        while int(re.search(r"ShdPnd:\s*(\w+)", Path(f"/proc/{self.pid}/status").read_text())[1], 16):  # type: ignore[index]
            time.sleep(0.001)

    def send_to_all(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def ends(self) -> int:
        """Waits for its end. Returns the exit status."""
        self.lines += self.stdout.read().splitlines()
        return self.process.wait(20)


@contextlib.contextmanager
def running(mode: str, *prefix: str, **env: str) -> Iterator[Program]:
    command = [*prefix, sys.executable, "-W", "error", str(PROGRAM), mode]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )
    with process:
        children: list[psutil.Process] = []
        try:
            yield Program(process)
            if process.poll() is None:
                children = psutil.Process(process.pid).children(recursive=True)
        finally:
            for child in children:
                child.kill()
            process.kill()


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> str:
    """What the primary runs on."""
    name: str = request.param
    return name


def ask(address: Any) -> socket.socket:
    """A connection with a request in flight."""
    client = socket.create_connection((address[1], int(address[2])), 20)
    client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    return client


def answer(client: socket.socket) -> bytes:
    with client, client.makefile("rb") as file:
        return file.read()


# ---- while the first workers start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_is_cancelled(number: signal.Signals, loop: str) -> None:
    with running("serves", SLOW="60", LOOP=loop) as program:
        program.until("importing", 2)
        program.send(number)
        assert program.ends() in (1, 130, -signal.SIGINT)
        assert "left" in program.lines
        assert "up 2" not in program.lines
        assert program.lines[-1].startswith("KeyboardInterrupt" if number == signal.SIGINT else "asyncio.exceptions.")


def test_the_second_one_does_not_wait_for_workers_that_are_up() -> None:
    with running("only_waits") as program:
        program.until("up")
        began = time.monotonic()
        program.send(signal.SIGTERM)
        program.until("leaving")
        program.send(signal.SIGTERM)
        program.ends()
        assert time.monotonic() - began < 10


def test_a_reload_waits_for_the_start(loop: str) -> None:
    with running("serves", SLOW="1", LOOP=loop) as program:
        program.until("importing", 2)
        program.send(signal.SIGHUP)
        program.until("up 2")
        program.until("exit [12] 0 None", 2)  # both have been renewed
        program.send(signal.SIGTERM)
        assert program.ends() == 0
        assert program.lines[-2:] == ["served 0", "left"]


def test_one_for_all_ends_no_worker_that_starts() -> None:
    with running("serves", SLOW="1") as program:
        while len(psutil.Process(program.pid).children()) < 2:  # they have not even begun
            time.sleep(0.001)
        for _ in range(3):
            program.send_to_all(signal.SIGHUP)
            time.sleep(0.05)
        program.until("up 2")
        assert not [line for line in program.lines if line.startswith("exit")]
        program.send(signal.SIGTERM)
        assert program.ends() == 0


def test_each_change_of_the_number_counts(loop: str) -> None:
    with running("serves", SLOW="1", LOOP=loop) as program:
        program.until("importing", 2)
        program.send(signal.SIGTTIN)  # while the first ones start
        program.until("fork 3")
        for _ in range(3):  # while that one starts
            program.send_alone(signal.SIGTTIN)
        program.until("fork 6")
        program.send(signal.SIGTTOU)
        program.until("exit 6 ")
        program.send(signal.SIGTERM)
        assert program.ends() == 0


# ---- without serve_forever()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_the_task_in_the_block_is_cancelled(number: signal.Signals, loop: str) -> None:
    with running("only_waits", LOOP=loop) as program:
        program.until("up")
        program.send(number)
        program.until("leaving")
        program.ends()
        assert "left" not in program.lines
        assert program.lines[-1].startswith("KeyboardInterrupt" if number == signal.SIGINT else "asyncio.exceptions.")


def test_after_it_has_given_up_one_signal_changes_nothing(loop: str) -> None:
    with running("gives_up", LOOP=loop) as program:
        address = program.until(r"address (\S+) (\d+)")
        client = ask(address)
        program.until("asked")
        program.until("exit [23] 3")
        time.sleep(0.5)  # it has given up by now, and waits for the one that answers
        program.send(signal.SIGTERM)
        assert answer(client) == b"done"
        assert program.ends() == 1
        assert "RestartLimitError" in "\n".join(program.lines)


# ---- reloads


def test_a_reload_during_a_reload_comes_after_it(loop: str) -> None:
    with running("serves", SLOW="0.5", LOOP=loop) as program:
        program.until("up 2")
        program.send(signal.SIGHUP)
        program.until("exit [12] 0 None")  # one has been renewed
        for _ in range(3):
            program.send(signal.SIGHUP)
        program.until("exit [12] 0 None")
        program.until("exit [34] 0 None", 2)
        program.send(signal.SIGTERM)
        assert program.ends() == 0
        assert not [line for line in program.lines if line.startswith(("fork 7", "fork 8"))]  # three were one


# ---- of the whole group


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", ["serves_slow_answers", "serves_uvicorn", "serves_aiohttp"])
def test_one_for_all_cuts_no_request_off(mode: str, number: signal.Signals) -> None:
    with running(mode) as program:
        address = program.until(r"address (\S+) (\d+)", 2)
        clients = [ask(address) for _ in range(4)]
        program.until("asked", 4)
        program.send_to_all(number)
        assert all(answer(client).endswith(b"done") for client in clients)
        if number == signal.SIGHUP:
            program.until("exit [12] 0 None", 2)
            program.send(signal.SIGTERM)
        assert program.ends() == 0
        assert "left" in program.lines


def test_a_worker_is_ended_by_its_own_sigterm() -> None:
    with running("serves") as program:
        program.until("up 2")
        worker = psutil.Process(program.pid).children()[0]
        worker.send_signal(signal.SIGHUP)
        worker.send_signal(signal.SIGINT)
        worker.send_signal(signal.SIGTERM)
        program.until("fork 3|exit . None SIGTERM", 2)
        program.send(signal.SIGTERM)
        assert program.ends() == 0


def test_what_a_worker_starts_hears_signals() -> None:
    with running("serves_names", SLOW="0") as program:
        ignored = int(program.until(r"ignored: (\w+)")[1], 16)
        assert not any(
            ignored >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGURG)
        )
        program.send(signal.SIGQUIT)
        program.ends()


# ---- beside other code


def test_handlers_from_before_are_put_back(loop: str) -> None:
    with running("has_handlers_of_its_own", LOOP=loop) as program:
        assert program.ends() == 0
        assert program.lines == [
            *("inside: other", "inside: added"),
            *("outside: loop", "outside: python", "outside: other"),
        ]


def test_nothing_is_left_where_nothing_was() -> None:
    with running("one_after_the_other") as program:
        assert program.ends() == 0
        assert program.lines == ["left True -1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_clusters_of_a_process_hear(number: signal.Signals, loop: str) -> None:
    with running("two_clusters", LOOP=loop) as program:
        program.until("up")
        program.send(number)
        assert program.ends() == 0
        assert program.lines[1:] == ["served 0 0", "left"]


def test_where_one_of_two_serves_nothing_is_cancelled() -> None:
    with running("one_of_two_serves") as program:
        program.until("up")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
        assert program.lines[1:] == ["served", "left"]


def test_a_cluster_in_a_thread_leaves_signals_alone() -> None:
    with running("in_a_thread") as program:
        assert program.ends() == 0
        assert program.lines == ["left True"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_under_anyio(number: signal.Signals) -> None:
    with running("under_anyio") as program:
        program.until("up 2")
        program.send(number)
        assert program.ends() == 0
        assert program.lines[-2:] == ["served 0", "left"]


def test_a_process_that_is_forked_beside_it_hears_its_own_signals(loop: str) -> None:
    with running("terminates_a_fork", LOOP=loop) as program:
        assert program.ends() == 0
        assert program.lines == ["ended {-15}", "serving True 1"]


def test_a_process_that_a_worker_forks_hears_its_own_signals(worker_loop: str) -> None:
    with running("a_worker_terminates_a_fork", LOOP=worker_loop) as program:
        assert program.ends() == 0
        assert program.lines == ["ended {-15}", "serving True 1"]


def test_a_handler_that_forks_again_is_not_told_off_at_the_end() -> None:
    with running("forks_again") as program:
        program.until("up")
        program.send(signal.SIGINT)
        assert program.ends() == 0
        assert program.lines == ["up", "left"]


# ---- the terminal


def in_a_terminal(folder: Path, mode: str, *prefix: str) -> tuple[int, int]:
    """Starts a mode as the leader of a new terminal's session. Returns its pid and the terminal."""
    command = [*prefix, sys.executable, str(PROGRAM), mode]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(ROOT)
        os.execvp(command[0], command)
    said = b""
    while b"up 2" not in said:
        said += os.read(terminal, 1000)
    return pid, terminal


def test_a_lost_terminal_stops_it_gracefully(tmp_path: Path) -> None:
    pid, terminal = in_a_terminal(tmp_path, "serves")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) >= 0  # what it prints fails by now


def test_with_a_terminal_it_reloads(tmp_path: Path) -> None:
    pid, terminal = in_a_terminal(tmp_path, "serves")
    try:
        os.kill(pid, signal.SIGHUP)
        said = b""
        while said.count(b"fork") < 2:
            said += os.read(terminal, 1000)
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(OSError):  # EIO: all have closed it
            while os.read(terminal, 1000):
                pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(terminal)


@pytest.mark.skipif(shutil.which("nohup") is None, reason="needs nohup(1)")
def test_under_nohup_it_survives_its_terminal(tmp_path: Path) -> None:
    pid, terminal = in_a_terminal(tmp_path, "serves", "sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    os.close(terminal)
    os.kill(pid, signal.SIGHUP)
    time.sleep(1)
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)


# ---- as process 1


def first_child(pid: int) -> int:
    while not (children := psutil.Process(pid).children()):
        time.sleep(0.01)
    return children[0].pid


@NEEDS_UNSHARE
@pytest.mark.parametrize("method", ["spawn", "template"])
def test_as_process_1_it_reaps_what_its_workers_leave_behind(method: str) -> None:
    with running("leaves_orphans", "unshare", "-pf", "--kill-child", "--mount-proc", METHOD=method) as program:
        program.until("up 1")
        one = psutil.Process(first_child(program.pid))
        deadline = time.monotonic() + 10
        expected = 1 if method == "spawn" else 2
        while len(one.children()) > expected:
            assert time.monotonic() < deadline, one.children()
            time.sleep(0.05)
        one.send_signal(signal.SIGTERM)
        assert program.ends() == 0


@NEEDS_UNSHARE
def test_as_process_1_the_command_hears_sigterm_while_workers_start(tmp_path: Path) -> None:
    (tmp_path / "slow_of_test.py").write_text(
        "import time\nprint('importing', flush=True)\ntime.sleep(60)\nasync def serve(): ...\n"
    )
    command = ["unshare", "-pf", "--kill-child", sys.executable, "-m", "aiocluster", "run", "-w", "1"]
    process = subprocess.Popen(
        [*command, "slow_of_test:serve"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "0 | importing\n"
            os.kill(first_child(process.pid), signal.SIGTERM)
            _, log = process.communicate(timeout=10)
            assert process.returncode == 0
            assert "Traceback" not in log
        finally:
            process.kill()


@NEEDS_UNSHARE
def test_as_process_1_the_command_hears_sigterm_while_it_imports_itself(tmp_path: Path) -> None:
    command = ["unshare", "-pf", "--kill-child", sys.executable, "-m", "aiocluster", "run", "no_such_module"]
    (tmp_path / "click.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(60)\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "importing\n"
            os.kill(first_child(process.pid), signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
