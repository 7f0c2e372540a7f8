"""Where the kernel has no pidfds (macOS): a thread waits for each child."""

from __future__ import annotations

import os
import signal

import pytest

from aiocluster.child_process import exec, spawn
from aiocluster.errors import ChildTimeoutError, MaxBufferError
from aiocluster.events import ChildExit

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
