"""The examples whose counterparts are Node's programs run, and print what they are there to show."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from aiocluster.events import Address
from tests.support.programs import (
    ended,
    environment,
    listening_address,
    printed,
    running_example,
    started_example,
    whole_lines,
)
from tests.support.serving import EXAMPLES, ask, wait_until_it_is_up


def output(name: str, **env: str) -> str:
    """Runs an example that ends by itself. Returns what it printed."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    done = subprocess.run(command, env={**whole_lines(), **env}, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class Upload:
    """A client that takes its time: the server answers when it has sent everything."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def finish(self) -> str:
        """Sends the rest. Returns the body of the answer."""
        self._writer.write_eof()
        head, _, body = (await self._reader.read()).decode().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 ")
        return body


@asynccontextmanager
async def uploading(address: Address) -> AsyncIterator[Upload]:
    """Begins an upload."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(b"PUT / HTTP/1.1\r\nHost: test\r\n\r\n")
        yield Upload(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def get(address: Address, target: str) -> str:
    """One request on a connection of its own. Returns the body."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text.partition("\r\n\r\n")[2]


# ---- clusters


async def test_same_script() -> None:
    with running_example("same_script.py") as process:
        assert await printed(process) == f"primary {process.pid} is running\n"
        lines = [await printed(process) for _ in range(4)]
        workers = {int(line.rpartition(" ")[2]) for line in lines}
        assert sorted(line.partition(",")[0] for line in lines) == [f"worker {n} has started" for n in range(1, 5)]
        address = listening_address(process.pid)
        heard: set[int] = set()
        while heard != workers:  # the primary may have yet to hear that the last one listens
            heard.add(await ask(address))
        assert Counter([await ask(address) for _ in range(12)]) == dict.fromkeys(workers, 3)
        gone = await ask(address, "/exit")
        assert await printed(process) == f"worker {gone} died\n"
        assert (await printed(process)).startswith("worker 5 has started, pid ")


def test_echo() -> None:
    assert output("echo.py") == "msg: hi there from worker#1\n"


def test_life_of_a_worker() -> None:
    *before, third_last, second_last, last = output("life_of_a_worker.py").splitlines()
    assert before == [
        "setup: args ['at your service']",
        "fork: worker 1 is starting",
        "online: worker 1",
        "listening: worker 1 on 127.0.0.1, tcp4",
        "message: 'at your service' from worker 1",
    ]
    assert {third_last, second_last} == {"disconnect: worker 1", "exit: worker 1, code 0, signal None"}
    assert last == "it left because it was told to: True"


async def test_smooth_restart() -> None:
    with started_example("smooth_restart.py", WORKERS="1", SECONDS="40") as process:
        worker = int((await printed(process)).removeprefix("worker ").removesuffix(" listens\n"))
        address = listening_address(process.pid)
        async with uploading(address) as upload:
            crashed = await get(address, "/crash")
            assert crashed == f"I am worker, pid: {worker}, ppid: {process.pid}\n"
            failed = await printed(process)
            assert failed == f"worker {worker} failed: worker process exception!\n"
            replacement = int((await printed(process)).removeprefix("worker ").removesuffix(" listens\n"))
            assert replacement != worker
            assert psutil.pid_exists(worker)
            assert await upload.finish() == crashed
        assert await printed(process) == f"worker {worker} exited: 1\n"
        process.send_signal(signal.SIGTERM)
        stdout, stderr = ended(process)
    assert stdout == f"worker {replacement} exited: 0\n"
    assert stderr.startswith("Traceback ")
    assert stderr.endswith("\nRuntimeError: worker process exception!\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_the_primary_takes_its_workers_along(number: signal.Signals) -> None:
    with started_example("smooth_restart.py") as process:
        assert process.stdout is not None
        workers = {process.stdout.readline().split()[1] for _ in range(2)}
        wait_until_it_is_up(process.pid)
        process.send_signal(number)
        stdout, stderr = ended(process)
    assert set(re.findall(r"^worker (\d+) exited: ", stdout, re.MULTILINE)) == workers
    assert stderr == ""
    assert not any(psutil.pid_exists(int(worker)) for worker in workers)


async def test_graceful_leave() -> None:
    with running_example("graceful_leave.py", WORKERS="1") as process:
        worker = int((await printed(process)).removeprefix("worker ").removesuffix(" is serving\n"))
        address = listening_address(process.pid)
        async with uploading(address) as upload:
            assert await ask(address, "/leave") == worker
            assert await printed(process) == f"worker {worker} is leaving\n"
            line = await printed(process)
            assert line.endswith(" is serving\n")
            assert str(worker) not in line
            assert await upload.finish() == f"{worker}\n"
        assert await printed(process) == f"worker {worker} has left as it wished: 0\n"


def test_give_up() -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "give_up.py")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=50)
    limit = "more than 10 workers ended unasked within 60 seconds: no more replacements"
    assert done.stdout.splitlines() == [
        "alarm: 11 workers ended within 60 seconds, with exit code {3}",
        f"gave up: {limit}",
        "",
        "the last one: worker 11 ended by exit code 3",
    ]
    assert (done.returncode, done.stderr.strip()) == (0, limit)  # it is logged, too


def test_shared_state() -> None:
    assert re.fullmatch(
        r"logged in: \['alice'\], known to workers \[\d, \d, \d\]\n"
        r"logged in: \['alice', 'bob'\], known to workers \[\d, \d, \d\]\n",
        output("shared_state.py"),
    )


# ---- ports


async def test_own_ports() -> None:
    with running_example("own_ports.py") as process:
        lines = [re.fullmatch(r"worker (\d+): (\d+) ready\n", await printed(process)) for _ in range(4)]
        places = {int(line[2]): int(line[1]) for line in lines if line is not None}
        assert len(set(places.values())) == 4
        for port, worker in places.items():
            assert await ask(Address("tcp4", "127.0.0.1", port)) == worker
        port, worker = places.popitem()
        await ask(Address("tcp4", "127.0.0.1", port), "/exit")
        replacement = re.fullmatch(r"worker (\d+): (\d+) ready\n", await printed(process))
        assert replacement is not None
        assert await ask(Address("tcp4", "127.0.0.1", int(replacement[2]))) == int(replacement[1]) != worker


def test_descriptors() -> None:
    assert output("descriptors.py").splitlines() == [
        "proxy: 2 descriptors for each client in the primary, 1 in the worker",
        "handed over: 0 descriptors for each client in the primary, 1 in the worker",
    ]


def test_shared_socket() -> None:
    """The sums are sure; who gets how many is what it measures."""
    text = output("shared_socket.py")
    shared = re.findall(r"^one socket: worker \d accepted (\d+), woken \d+ times$", text, re.MULTILINE)
    assert (len(shared), sum(map(int, shared))) == (4, 200)
    assert re.findall(r"^round robin: worker \d was given (\d+)$", text, re.MULTILINE) == ["50"] * 4


# ---- child processes


def test_exec_command() -> None:
    assert output("exec_command.py").splitlines() == [
        "exec, a pipeline: ['a', 'b'] code 0",
        "exec, a failure: code is 0: False - it said something: True",
        "exec_file, no shell: $HOME; ls",
        "exec, too slow: the child is dead",
        "exec, too much: the child is dead, and wrote 1000 bytes before",
    ]


def test_spawn_streams() -> None:
    assert output("spawn_streams.py").splitlines() == [
        "cat runs, and has written: one",
        "cat runs, and has written: two",
        "cat runs, and has written: three",
        "closing code: 0",
        "inherited: echo wrote this",
        "ignored: there is a stream to read from: False",
    ]


def test_spawn_ipc() -> None:
    first, second, third, last = output("spawn_ipc.py").splitlines()
    assert first == "child"
    assert second.startswith("hi child pid: ")
    assert third.startswith("hello parent pid: ")
    assert second.split()[-1] != third.split()[-1]
    assert last.startswith("without ipc: ")


def test_fork_messages() -> None:
    assert output("fork_messages.py").splitlines() == [
        "the child has received {'hello': 'world'}",
        "the parent has received {'foo': 'bar'}",
    ]


def test_json_over_stdio() -> None:
    assert output("json_over_stdio.py").splitlines() == [
        "the child says {'numbers': [1, 2, 3], 'sum': 6}",
        "the child says {'numbers': [40, 2], 'sum': 42}",
    ]


def test_detached(tmp_path: Path) -> None:
    text = output("detached.py", COUNT="1000000", INTERVAL="0.02", TMPDIR=str(tmp_path))
    found = re.fullmatch(r"child (\d+) writes to (.*); its parent ends now\n", text)
    assert found is not None
    child, file = psutil.Process(int(found[1])), Path(found[2])
    try:
        size = file.stat().st_size
        while file.stat().st_size < size + len("aaa\n") * 3:
            assert child.is_running()
            time.sleep(0.005)
    finally:
        child.kill()
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.005)
    assert set(file.read_text().splitlines()) == {"aaa"}


def test_pass_the_server() -> None:
    parent, closed, *answers = output("pass_the_server.py").splitlines()
    first, second = closed.removeprefix("the parent has closed the port; children ").split()
    assert parent.split()[1] not in {first, second}
    assert len(answers) == 6
    assert set(answers) <= {f"handled by child, pid is {child}" for child in (first, second)}
