"""parent(): the channel, from the child's side."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from aiocluster import child_process
from aiocluster._processes.environment import PARENT_FD
from aiocluster.child_process import exec_file

from .processes import alive, read_all, until
from .test_fork import forked


async def test_without_a_channel_there_is_no_parent() -> None:
    assert child_process.parent() is None
    line = "from aiocluster.child_process import parent; print(parent())"
    assert (await exec_file(sys.executable, ["-c", line])).stdout == "None\n"


async def test_asking_for_the_parent_loads_little() -> None:
    line = "import sys; from aiocluster.child_process import parent; parent(); print('anyio' in sys.modules)"
    assert (await exec_file(sys.executable, ["-c", line])).stdout == "False\n"


@pytest.mark.parametrize("value", ["", "x", "3", "3:", ":3", "-1:1", "3:x", "99999:1", "9" * 30 + ":1"])
async def test_a_variable_that_names_nothing(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARENT_FD, value)
    assert child_process.parent() is None
    assert PARENT_FD not in os.environ


async def test_a_variable_that_names_something_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An inherited variable, whose number is by now another descriptor's; and a descriptor that is no socket."""
    one, other = socket.socketpair()
    with one, other, (tmp_path / "file").open("w") as file:
        monkeypatch.setenv(PARENT_FD, f"{one.fileno()}:{os.fstat(other.fileno()).st_ino}")
        assert child_process.parent() is None
        monkeypatch.setenv(PARENT_FD, f"{file.fileno()}:{os.fstat(file.fileno()).st_ino}")
        assert child_process.parent() is None


async def test_two_loops_one_after_the_other() -> None:
    async with await forked("twice") as child:
        messages = child.messages()
        assert await anext(messages) == "one"
        assert await anext(messages) == "two"
        await child.send("hello")
        assert await anext(messages) == {"echo": "hello"}
        assert (await child.wait()).code == 0


async def test_a_program_without_a_loop() -> None:
    async with await forked("without_a_loop", silent=True) as child:
        await child.send("hello")
        assert await read_all(child.stderr) == b""
        assert (await child.wait()).code == 0


async def test_a_forked_process_has_no_parent_and_does_not_disturb() -> None:
    async with await forked("fork_itself") as child:
        assert await anext(child.messages()) == "(None, False)"
        assert (await child.wait()).code == 0


async def test_a_childs_children_have_no_parent() -> None:
    async with await forked("start_another") as child:
        assert await anext(child.messages()) == ["None\n", "None\n", "None\n"]
        assert (await child.wait()).code == 0


async def test_a_detached_child_hears_that_its_parent_has_gone() -> None:
    async with await forked("outlive", stdio=("ignore", "pipe", "inherit", "ipc"), detached=True) as child:
        assert await anext(child.messages()) == "ready"
        child.disconnect()
        assert await read_all(child.stdout) == b"alone\n"
        assert (await child.wait()).code == 0


async def test_a_child_hears_that_its_parent_was_killed(minute: str) -> None:
    """Its parent is a child of ours: what they write goes to the same pipe."""
    async with await forked("start_outliving", minute, stdio=("ignore", "pipe", "inherit", "ipc")) as middle:
        pid = await anext(middle.messages())
        assert alive(minute)
        middle.kill(signal.SIGKILL)
        assert await read_all(middle.stdout) == b"alone\n"  # which it closes when it ends
        await until(lambda: pid not in alive(minute))
