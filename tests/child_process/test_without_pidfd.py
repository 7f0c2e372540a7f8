"""Where the kernel has no pidfds (macOS): a thread waits for each child and worker, a fork server for its workers."""

from __future__ import annotations

import os
import signal
from typing import Literal

import psutil
import pytest

from aiocluster import Primary
from aiocluster.child_process import exec, spawn
from aiocluster.errors import ChildTimeoutError, MaxBufferError
from aiocluster.events import ChildExit
from tests.primary.inside_template import end_with_7, stay, tell

from .processes import alive, gone, read_all
from .test_fork import forked


@pytest.fixture(autouse=True)
def without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)


async def test_exec() -> None:
    done = await exec("echo out; kill -USR1 $$")
    assert (done.stdout, done.code, done.signal) == ("out\n", None, signal.SIGUSR1)


async def test_limits_end_the_group(minute: str) -> None:
    with pytest.raises(ChildTimeoutError):
        await exec(f"sleep {minute} & sleep {minute}", timeout=0.2)
    with pytest.raises(MaxBufferError):
        await exec(f"sleep {minute} & yes")
    with pytest.raises(ChildTimeoutError):
        await exec(f"trap '' TERM; sleep {minute} & sleep {minute}", timeout=0.2)
    assert alive(minute) == []


async def test_spawn() -> None:
    async with await spawn("cat") as child:
        assert child.stdin is not None
        await child.stdin.send(b"hello")
        await child.stdin.aclose()
        assert await read_all(child.stdout) == b"hello"
        assert (await child.wait()).code == 0
        assert not child.kill()
    async with await spawn("sleep", ["60"]) as child:
        assert child.kill(signal.SIGKILL)
        assert await child.wait() == ChildExit(child, None, signal.SIGKILL)


async def test_a_detached_child_is_left_alone(minute: str) -> None:
    async with await spawn("sleep", [minute], stdio="ignore", detached=True) as child:
        pass
    assert alive(minute) == [child.pid]
    os.kill(child.pid, signal.SIGKILL)
    await gone(child.pid)


async def test_a_channel() -> None:
    async with await forked("echo") as child:
        await child.send("end")
        assert [message async for message in child.messages()] == [{"echo": "end"}]


@pytest.mark.parametrize("start_method", ["spawn", "template"])
async def test_a_worker(start_method: Literal["spawn", "template"]) -> None:
    async with Primary(end_with_7, start_method=start_method, silent=True) as primary:
        worker = await primary.fork()
        ended = await worker.wait()
        assert (ended.code, ended.signal) == (7, None)
        assert await read_all(worker.stdout) == b"to stdout\n"
        assert await read_all(worker.stderr) == b"to stderr\n"
        await gone(worker.pid)


@pytest.mark.parametrize("start_method", ["spawn", "template"])
async def test_signals_to_a_worker(start_method: Literal["spawn", "template"]) -> None:
    async with Primary(stay, start_method=start_method) as primary:
        worker = await primary.fork()
        await worker.wait_for("online")
        worker.kill(signal.SIGUSR1)
        ended = await worker.wait()
        assert (ended.code, ended.signal) == (None, signal.SIGUSR1)
        worker.kill()  # nothing to send it to


async def test_a_worker_whose_fork_server_is_killed() -> None:
    async with Primary(tell, start_method="template") as primary, primary.events("message") as heard:
        worker = await primary.fork()
        psutil.Process((await anext(heard)).message["parent"]).kill()
        ended = await worker.wait()
        assert (ended.code, ended.signal) == (None, None)  # it counts as ended: nobody is left who would tell
    await gone(worker.pid)
