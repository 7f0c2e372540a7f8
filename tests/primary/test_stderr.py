"""Workers' stderr: passed on by the primary from the first byte to the last, in whole lines, and never in its way."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aiocluster import Cluster, Primary, StartupError
from aiocluster._primary.relay import TAIL
from aiocluster.settings import StartMethod

from .inside_process import read_all
from .inside_streams import (
    count_in_halves,
    fail_with,
    flood,
    last_words,
    leave_an_heir,
    prompt,
    tell_standard_streams,
    write_at_the_end_of_a_pipe,
)

ROOT = Path(__file__).parents[2]

start_methods = pytest.mark.parametrize("start_method", ["spawn", "template"])


async def until(holds: Callable[[], bool]) -> None:
    """Waits until that is so, which no event tells."""
    while not holds():
        await asyncio.sleep(0.005)


class Stderr:
    """Makes descriptor 2 a pipe that the test reads. Not a fixture: pytest sets the descriptor when a test begins."""

    def __init__(self) -> None:
        self._old = os.dup(2)
        self.fd, write = os.pipe()
        os.set_blocking(self.fd, False)
        os.dup2(write, 2)
        os.close(write)
        self.text = b""

    def read(self) -> bytes:
        """All that has come so far."""
        try:
            while data := os.read(self.fd, 65536):
                self.text += data
        except BlockingIOError:
            pass
        return self.text

    @asynccontextmanager
    async def keep_reading(self) -> AsyncIterator[None]:
        async def read() -> None:
            while True:
                self.read()
                await asyncio.sleep(0.002)

        reading = asyncio.ensure_future(read())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def __enter__(self) -> Stderr:
        return self

    def __exit__(self, *exc_info: object) -> None:
        os.dup2(self._old, 2)
        os.close(self._old)
        if self.fd >= 0:
            os.close(self.fd)


# ---- from the first byte to the last


@start_methods
async def test_last_words(start_method: StartMethod) -> None:
    with Stderr() as stderr:
        async with Primary(last_words, start_method=start_method) as primary:
            worker = await primary.fork()
            await worker.wait()
            assert worker.stderr_tail == b"a line\nlast words, without an end"
        assert stderr.read() == b"a line\nlast words, without an end"


async def test_the_beginning_of_a_line_does_not_wait_for_its_end() -> None:
    with Stderr() as stderr:
        async with Primary(prompt) as primary:
            await primary.fork()
            await until(lambda: stderr.read() == b"continue? ")


async def test_what_a_worker_has_started_writes_to_the_same_place(tmp_path: Path) -> None:
    with Stderr() as stderr:
        told = tmp_path / "told"
        async with Primary(leave_an_heir, args=[str(told)]) as primary:
            worker = await primary.fork()
            await worker.wait_gone()
            told.touch()
            await until(lambda: stderr.read() == b"from an heir\n")


@start_methods
async def test_what_an_import_starts_writes_to_the_same_place(start_method: StartMethod, tmp_path: Path) -> None:
    with Stderr() as stderr:
        told = tmp_path / "told"
        (tmp_path / "starts_an_heir.py").write_text(
            "import asyncio\nfrom tests.primary.inside_streams import leave_an_heir\n"
            f"leave_an_heir({str(told)!r})\nasync def run():\n    await asyncio.get_running_loop().create_future()\n"
        )
        async with Primary("starts_an_heir:run", cwd=tmp_path, start_method=start_method) as primary:
            worker = await primary.fork()
            await worker.wait_for("online")
            told.touch()
            await until(lambda: stderr.read() == b"from an heir\n")


async def test_lines_stay_whole() -> None:
    with Stderr() as stderr:
        count = 300
        async with Primary(count_in_halves, args=[str(count)]) as primary:
            workers = [await primary.fork() for _ in range(3)]
            for worker in workers:
                await worker.wait()
        lines = stderr.read().decode().splitlines()
        assert len(lines) == 3 * count
        for worker in workers:
            own = [line for line in lines if line.startswith(f"worker {worker.pid} ")]
            assert own == [f"worker {worker.pid} line {number}" for number in range(count)]


@start_methods
async def test_no_temporary_directory_is_needed(start_method: StartMethod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    async with Primary(prompt, start_method=start_method) as primary:
        await (await primary.fork()).wait_for("online")


# ---- the tail


@pytest.mark.parametrize("size", [0, TAIL - 7, TAIL, 60_000, 200_000])
@pytest.mark.parametrize("silent", [False, True])
async def test_the_tail_is_bounded(silent: bool, size: int) -> None:
    whole = b"." * size + b"the end"
    with Stderr() as stderr:
        async with stderr.keep_reading(), Primary(fail_with, args=[str(size)], silent=silent) as primary:
            worker = await primary.fork()
            text = await read_all(worker.stderr) if silent else b""
            await worker.wait()
            assert worker.stderr_tail == whole[-TAIL:]
        is_whole = (text if silent else stderr.read()) == whole
        assert is_whole


async def test_the_tail_takes_nothing_from_who_reads_a_silent_workers_stderr() -> None:
    async with Primary(prompt, silent=True) as primary:
        worker = await primary.fork()
        assert worker.stderr is not None
        reading = asyncio.ensure_future(worker.stderr.receive())
        await until(lambda: worker.stderr_tail == b"continue? ")
        assert await reading == b"continue? "
        assert worker.stderr_tail == b"continue? "


async def test_the_tail_of_a_silent_worker_that_nobody_reads_is_bounded() -> None:
    size = 1_000_000
    async with Primary(flood, args=[str(size)], silent=True) as primary:
        async with primary.events("message") as heard:
            worker = await primary.fork()
            assert (await anext(heard)).message == "begin"
        for _ in range(20):
            assert len(worker.stderr_tail) <= TAIL
            await asyncio.sleep(0.005)
        assert worker.stderr is not None
        text = b""
        while len(text) < size:  # all of it is there still, in order
            text += await worker.stderr.receive()
        is_whole = text == (b"x" * 99 + b"\n") * (size // 100)
        assert is_whole


@start_methods
async def test_a_failed_start_quotes_the_tail(start_method: StartMethod, tmp_path: Path) -> None:
    (tmp_path / "dies_early.py").write_text("import os\nos.write(2, b'no licence found\\n')\nos._exit(9)\n")
    text = "import os\ndef run(): ...\nos.write(2, b'no licence found')\nos._exit(9)\n"
    (tmp_path / "dies_early.py").write_text(text)
    cluster = Cluster("dies_early:run", workers=1, cwd=tmp_path, silent=True, start_method=start_method)
    with pytest.raises(StartupError, match="no licence found"):
        async with cluster:
            pass


# ---- where the primary's own stderr is full, has no reader, or is closed


async def test_where_the_primarys_stderr_is_full_workers_wait_and_its_loop_does_not() -> None:
    with Stderr() as stderr:
        size = 1_000_000
        async with Primary(flood, args=[str(size)]) as primary, primary.events("message") as heard:
            worker = await primary.fork()
            assert (await anext(heard)).message == "begin"
            waiting = asyncio.ensure_future(anext(heard))
            slowest, end = 0.0, time.monotonic() + 0.5
            while time.monotonic() < end:
                before = time.monotonic()
                await asyncio.sleep(0.001)
                assert len(worker.stderr_tail) <= TAIL
                slowest = max(slowest, time.monotonic() - before)
            assert slowest < 0.4  # a blocked loop would stand still for ever
            assert not waiting.done()
            while not waiting.done():
                stderr.read()
                await asyncio.sleep(0)
            assert (await waiting).message == "done"
            await until(lambda: len(stderr.read()) == size)
        is_whole = stderr.text == (b"x" * 99 + b"\n") * (size // 100)
        assert is_whole


async def test_a_full_stderr_holds_up_no_stop() -> None:
    with Stderr() as stderr:
        async with Primary(flood, args=["1000000"]) as primary, primary.events("message") as heard:
            await primary.fork()
            assert (await anext(heard)).message == "begin"
            await until(lambda: not select.select([], [2], [], 0)[1])
        is_left = any(thread.name == "aiocluster-stderr" for thread in threading.enumerate())
        assert is_left  # its write has not returned yet; once it has, the thread ends

        def has_ended() -> bool:
            stderr.read()
            return all(thread.name != "aiocluster-stderr" for thread in threading.enumerate())

        await until(has_ended)


async def test_a_stderr_that_nobody_reads_any_more_ends_no_worker() -> None:
    with Stderr() as stderr:
        os.close(stderr.fd)
        stderr.fd = -1
        async with Primary(write_at_the_end_of_a_pipe) as primary:
            assert (await (await primary.fork()).wait()).code == 0


PROGRAM = """
import asyncio, sys
sys.path.insert(0, {root!r})
from aiocluster import Primary
from tests.primary import inside_streams

async def main():
    async with Primary(inside_streams.{target}, start_method={start_method!r}) as primary:
        async with primary.events("message") as heard:
            await primary.fork()
            message = (await anext(heard)).message
            with open("told", "w") as file:
                print(message, file=file)

asyncio.run(main())
"""


def program(folder: Path, target: Callable[..., object] | str, start_method: str = "spawn") -> Path:
    name = target if isinstance(target, str) else target.__name__
    path = folder / "program.py"
    path.write_text(PROGRAM.format(root=str(ROOT), target=name, start_method=start_method))
    return path


@start_methods
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_the_null_device(closed: str, start_method: str, tmp_path: Path) -> None:
    path = program(tmp_path, tell_standard_streams, start_method)
    shell = f'exec "{sys.executable}" "{path}" {closed}'
    done = subprocess.run(["/bin/sh", "-c", shell], cwd=tmp_path, capture_output=True, timeout=30)
    assert done.returncode == 0
    # stdin is the null device by default, and stderr is a pipe whatever the primary's own is.
    assert (tmp_path / "told").read_text() == f"[True, {'>&-' in closed.split()}, False]\n"


# ---- where the primary's own stderr is a terminal


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers get a pipe")
@start_methods
def test_a_terminal_stays_one(start_method: str, tmp_path: Path) -> None:
    path = program(tmp_path, "tell_tty", start_method)
    ours, theirs = pty.openpty()
    try:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        done = subprocess.run(
            [sys.executable, path], cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, timeout=30
        )
        assert done.returncode == 0
        assert os.read(ours, 4096) == b"tty: True, columns: 111\r\nnext line\r\n"
    finally:
        os.close(ours)
        os.close(theirs)
