"""What ``stdio`` may be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiocluster.child_process import spawn
from aiocluster.child_process._stdio import Plan, plan

from .processes import read_all


@pytest.mark.parametrize(
    ("stdio", "planned"),
    [
        ("pipe", Plan(("pipe", "pipe", "pipe"), False)),
        ("ignore", Plan(("ignore", "ignore", "ignore"), False)),
        ("inherit", Plan(("inherit", "inherit", "inherit"), False)),
        ((), Plan(("pipe", "pipe", "pipe"), False)),
        (("ignore",), Plan(("ignore", "pipe", "pipe"), False)),
        (["ignore", None, "inherit"], Plan(("ignore", "pipe", "inherit"), False)),
        ((0, 1, 2, "ipc"), Plan((0, 1, 2), True)),
        (("pipe", "ignore", 1, "ipc"), Plan(("pipe", "ignore", 1), True)),
    ],
)
async def test_what_is_allowed(stdio: Any, planned: Plan) -> None:
    assert plan(stdio) == planned


@pytest.mark.parametrize(
    "stdio",
    [
        "ipc",
        "pipes",
        7,
        None,
        b"pipe",
        ("pipe", "pipe", "pipe", "pipe"),
        ("pipe", "pipe", "pipe", "ipc", "ipc"),
        ("pipe", "pipe", "pipe", 1),
        ("pipe", "ipc"),
        (True, False, True),
        (-1, 1, 2),
        (99_999, 1, 2),
        (1.5, 1, 2),
        (Path, 1, 2),
        {"stdin": "pipe"},
    ],
    ids=repr,
)
async def test_what_is_not(stdio: Any) -> None:
    with pytest.raises(ValueError, match=r'^stdio is "pipe", "ignore" or "inherit" for all three streams, or a tuple'):
        await spawn("true", stdio=stdio)


async def test_pipes_both_ways() -> None:
    async with await spawn("cat") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        await child.stdin.send(b"hello")
        assert await child.stdout.receive() == b"hello"  # while it runs
        await child.stdin.aclose()
        assert await read_all(child.stdout) == b""
        assert (await child.wait()).code == 0


async def test_ignored_streams_are_dev_null() -> None:
    async with await spawn(
        "sh", ["-c", "readlink /proc/$$/fd/0 /proc/$$/fd/2"], stdio=("ignore", "pipe", "ignore")
    ) as one:
        assert (one.stdin, one.stderr) == (None, None)
        assert await read_all(one.stdout) == b"/dev/null\n/dev/null\n"


async def test_inherited_streams(capfd: pytest.CaptureFixture[str]) -> None:
    async with await spawn("sh", ["-c", "echo out; echo err >&2"], stdio=("ignore", "inherit", "inherit")) as child:
        assert (child.stdout, child.stderr) == (None, None)
        await child.wait()
    assert capfd.readouterr() == ("out\n", "err\n")


async def test_descriptors_and_files_stay_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ours, theirs = socket.socketpair()
    with ours, theirs, path.open("w") as file:
        async with await spawn("sh", ["-c", "cat; echo err >&2"], stdio=(theirs, file, file.fileno())) as child:
            ours.send(b"from a socket\n")
            ours.shutdown(socket.SHUT_WR)
            await child.wait()
        file.write("still open\n")
    assert path.read_text() == "from a socket\nerr\nstill open\n"


async def test_streams_can_be_swapped(capfd: pytest.CaptureFixture[str]) -> None:
    async with await spawn("sh", ["-c", "echo out; echo err >&2"], stdio=("ignore", 2, 1)) as child:
        await child.wait()
    assert capfd.readouterr() == ("err\n", "out\n")


@pytest.mark.parametrize("channel", [(), ("ipc",)], ids=["without ipc", "with ipc"])
async def test_nothing_else_is_inherited(channel: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    try:
        line = (
            "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/dev/fd/{fd}')))"
        )
        stdio = ("ignore", "pipe", "inherit", *channel)
        async with await spawn(sys.executable, ["-c", line], stdio=stdio) as child:
            inherited = eval(await read_all(child.stdout))
            assert inherited[:3] == [0, 1, 2]
            assert len(inherited[3:]) == len(channel)
            assert theirs not in inherited
    finally:
        os.close(ours)
        os.close(theirs)


CLOSED = """
import asyncio, sys
from aiocluster.child_process import spawn

CODE = '''
import os, sys
from aiocluster.child_process import parent
null = os.stat(os.devnull).st_rdev
assert parent() is not None
assert [os.fstat(fd).st_rdev for fd in range(3)] == [null] * 3
sys.exit(7)
'''

async def main():
    async with await spawn(sys.executable, ["-c", CODE], stdio=("inherit", "inherit", "inherit", "ipc")) as child:
        sys.exit((await child.wait()).code)

asyncio.run(main())
"""


def test_closed_standard_streams_are_the_null_device(tmp_path: Path) -> None:
    """Not descriptors of the event loop, which got these numbers, nor the child's own channel."""
    (tmp_path / "program.py").write_text(CLOSED)
    shell = f'exec "{sys.executable}" "{tmp_path / "program.py"}" <&- >&- 2>&-'
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(["/bin/sh", "-c", shell], env=environment, timeout=30).returncode == 7
