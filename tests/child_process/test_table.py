"""The table of the page on child processes: a test for each cell, named for it."""

from __future__ import annotations

import signal
import sys

import pytest

from aiocluster.child_process import exec, exec_file, fork, spawn
from aiocluster.errors import ChannelClosedError, ChildTimeoutError, MaxBufferError

from .processes import INSIDE, alive, read_all

# ---- runs a shell


async def test_exec_has_a_shell() -> None:
    assert (await exec("echo $((1 + 1)) | tr 2 3")).stdout == "3\n"


async def test_exec_file_has_no_shell() -> None:
    assert (await exec_file("echo", ["$((1 + 1)) | tr 2 3"])).stdout == "$((1 + 1)) | tr 2 3\n"


async def test_spawn_has_a_shell_if_asked_for() -> None:
    for shell, output in ((False, b"$((1 + 1))\n"), (True, b"2\n")):
        command, args = ("echo $((1 + 1))", []) if shell else ("echo", ["$((1 + 1))"])
        async with await spawn(command, args, shell=shell) as child:
            assert await read_all(child.stdout) == output


async def test_fork_has_no_shell() -> None:
    async with await fork(INSIDE, ["about_itself", "$HOME"]) as child:
        assert (await anext(child.messages()))["argv"] == ["$HOME"]


# ---- returns


async def test_exec_returns_when_it_has_ended_with_its_output() -> None:
    assert (await exec("echo 1; sleep 0.1; echo 2")).stdout == "1\n2\n"


async def test_exec_file_returns_when_it_has_ended_with_its_output() -> None:
    assert (await exec_file("sh", ["-c", "echo 1; sleep 0.1; echo 2"])).stdout == "1\n2\n"


async def test_spawn_returns_at_once_and_streams() -> None:
    async with await spawn("sh", ["-c", "echo 1; read line; echo 2"]) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert await child.stdout.receive() == b"1\n"
        await child.stdin.send(b"\n")
        assert await child.stdout.receive() == b"2\n"


async def test_fork_returns_at_once_and_streams_if_silent() -> None:
    async with await fork(INSIDE, ["outlive"], silent=True) as child:
        assert await anext(child.messages()) == "ready"
        assert child.exit_code is None
        child.disconnect()
        assert await read_all(child.stdout) == b"alone\n"


# ---- limits its output


async def test_exec_limits_its_output() -> None:
    with pytest.raises(MaxBufferError):
        await exec("yes")


async def test_exec_file_limits_its_output() -> None:
    with pytest.raises(MaxBufferError):
        await exec_file("yes")


async def test_spawn_does_not_limit_its_output() -> None:
    async with await spawn("head", ["-c", "1000000", "/dev/zero"]) as child:
        assert len(await read_all(child.stdout)) == 1_000_000


async def test_fork_does_not_limit_its_output() -> None:
    async with await fork(INSIDE, ["chatter", "1000000"], silent=True) as child:
        assert len(await read_all(child.stdout)) == 1_000_000


# ---- can time out


async def test_exec_can_time_out_and_ends_the_group(minute: str) -> None:
    with pytest.raises(ChildTimeoutError):
        await exec(f"sleep {minute} & sleep {minute}", timeout=0.2)
    assert alive(minute) == []


async def test_exec_file_can_time_out_and_ends_the_group(minute: str) -> None:
    with pytest.raises(ChildTimeoutError):
        await exec_file("sh", ["-c", f"sleep {minute} & sleep {minute}"], timeout=0.2)
    assert alive(minute) == []


async def test_spawn_can_time_out_and_ends_the_child() -> None:
    async with await spawn("sleep", ["60"], timeout=0.05) as child:
        assert (await child.wait()).signal == signal.SIGTERM


async def test_fork_can_time_out_and_ends_the_child() -> None:
    async with await fork(INSIDE, ["outlive"], timeout=0.05) as child:
        assert (await child.wait()).signal == signal.SIGTERM


# ---- has a channel


async def test_exec_has_no_channel() -> None:
    assert (await exec("echo $AIOCLUSTER_PARENT_FD")).stdout == "\n"


async def test_exec_file_has_no_channel() -> None:
    assert "AIOCLUSTER_PARENT_FD" not in (await exec_file("env")).stdout


async def test_spawn_has_a_channel_if_asked_for() -> None:
    async with await spawn(sys.executable, [INSIDE, "outlive"], stdio=("pipe", "pipe", "pipe", "ipc")) as child:
        assert await anext(child.messages()) == "ready"
    async with await spawn("cat") as child:
        with pytest.raises(ChannelClosedError):
            await child.send("hello")


async def test_fork_has_a_channel() -> None:
    async with await fork(INSIDE, ["outlive"]) as child:
        assert await anext(child.messages()) == "ready"
