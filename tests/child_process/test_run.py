"""exec and exec_file: run to the end, within limits."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from aiocluster.child_process import Completed, exec, exec_file
from aiocluster.errors import ChildTimeoutError, ClusterError, MaxBufferError

from .processes import alive, is_root, until

# ---- what is returned


async def test_output_code_and_signal() -> None:
    assert await exec("echo out; echo err >&2; exit 3") == Completed("out\n", "err\n", 3, None)
    assert await exec("kill -KILL $$") == Completed("", "", None, signal.SIGKILL)
    assert await exec_file("sh", ["-c", "exit 4"]) == Completed("", "", 4, None)


async def test_bytes_and_text() -> None:
    file = "printf"
    assert (await exec_file(file, [r"\303\244\377"])).stdout == "ä\ufffd"
    assert (await exec_file(file, [r"\303\244\377"], encoding=None)).stdout == b"\xc3\xa4\xff"
    assert (await exec_file(file, [r"\344"], encoding="latin-1")).stdout == "ä"


async def test_an_unknown_encoding_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="unknown encoding: utf-9"):
        await exec(f"touch {tmp_path}/ran", encoding="utf-9")
    assert not (tmp_path / "ran").exists()


async def test_input() -> None:
    assert (await exec("cat", input="ä")).stdout == "ä"
    assert (await exec_file("cat", input=b"\xff", encoding=None)).stdout == b"\xff"
    assert (await exec("cat; echo end")).stdout == "end\n"  # /dev/null
    much = "x" * 1_000_000  # more than a pipe holds, both ways
    assert (await exec("cat", input=much, max_buffer=None)).stdout == much
    assert (await exec("exit 5", input=much)).code == 5  # it need not read it


async def test_cwd_and_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_PARENT", "1")
    assert (await exec("pwd -P", cwd=tmp_path)).stdout.strip() == os.path.realpath(tmp_path)
    assert (await exec("echo $OF_PARENT$OTHER")).stdout == "1\n"
    assert (await exec("echo $OF_PARENT$OTHER", env={"OTHER": "2"})).stdout == "2\n"


async def test_a_shell_of_ones_own() -> None:
    assert (await exec("echo $0", shell="/bin/bash")).stdout == "/bin/bash\n"


async def test_what_cannot_be_started() -> None:
    assert (await exec("no-such-program-anywhere")).code == 127
    with pytest.raises(FileNotFoundError):
        await exec_file("no-such-program-anywhere")
    with pytest.raises(PermissionError):
        await exec_file("/etc/passwd")
    with pytest.raises(FileNotFoundError):
        await exec("true", shell="/no/such/shell")


async def test_a_null_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="null"):
        await exec("echo \0")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"timeout": float("nan")}, ValueError, "timeout must be a number of seconds from 0 on, not nan"),
        ({"timeout": float("inf")}, ValueError, "timeout must be a number of seconds from 0 on, not inf"),
        ({"timeout": -1}, ValueError, "timeout must be a number of seconds from 0 on, not -1"),
        ({"timeout": "5"}, TypeError, "timeout must be a number of seconds from 0 on, not '5'"),
        ({"timeout": True}, TypeError, "timeout must be"),
        ({"max_buffer": -1}, ValueError, "max_buffer must be a whole number of bytes from 0 on, not -1"),
        ({"max_buffer": 1.5}, TypeError, "max_buffer must be"),
        ({"tiemout": 5}, TypeError, "{}() got an unexpected keyword argument 'tiemout'"),
    ],
)
async def test_what_is_no_option(options: dict[str, Any], error: type[Exception], text: str) -> None:
    for function in (exec, exec_file):
        with pytest.raises(error) as caught:
            await function("true", **options)
        assert str(caught.value).startswith(text.format(function.__name__))


@pytest.mark.skipif(not is_root(), reason="needs root")
async def test_uid_and_gid() -> None:
    done = await exec("id -u; id -g; id -G", uid=65534, gid=65533)
    assert done.stdout.split() == ["65534", "65533", "65533"]


@pytest.mark.skipif(not is_root(), reason="needs root")
async def test_a_uid_alone_leaves_every_group_of_roots() -> None:
    assert (await exec("id -u; id -g; id -G", uid=65534)).stdout.split() == ["65534"] * 3


@pytest.mark.skipif(is_root(), reason="root may")
async def test_another_uid_needs_root() -> None:
    with pytest.raises(PermissionError):
        await exec("true", uid=0)


async def test_many_at_once() -> None:
    done = await asyncio.gather(*(exec(f"echo {number}") for number in range(10)))
    assert [each.stdout for each in done] == [f"{number}\n" for number in range(10)]


# ---- what is not passed on


async def test_no_descriptor_is_passed_on() -> None:
    ours, theirs = os.pipe()
    try:
        os.set_inheritable(theirs, True)
        assert (await exec("ls /proc/self/fd | wc -l")).stdout.strip() == "4"  # three, and the directory itself
        assert (await exec_file("test", ["-e", f"/proc/self/fd/{theirs}"])).code == 1
    finally:
        os.close(ours)
        os.close(theirs)


async def test_a_child_leads_a_process_group_but_no_session() -> None:
    done = await exec("ps -o pid=,pgid=,sid= -p $$")
    pid, group, session = map(int, done.stdout.split())
    assert pid == group
    assert session == os.getsid(0)


# ---- timeout


async def test_a_timeout_leaves_no_process_behind(minute: str) -> None:
    with pytest.raises(ChildTimeoutError, match=r"^/bin/sh -c 'sleep .*' took longer than 0\.2 seconds"):
        await exec(f"sleep {minute} & sleep {minute}", timeout=0.2)
    assert alive(minute) == []


async def test_a_timeout_is_a_timeout_error_and_ours() -> None:
    with pytest.raises(TimeoutError) as caught:
        await exec_file("sleep", ["60"], timeout=0.1)
    assert isinstance(caught.value, ClusterError)


async def test_a_timeout_has_what_was_written() -> None:
    with pytest.raises(ChildTimeoutError) as caught:
        await exec("echo out; echo err >&2; sleep 60", timeout=2)
    assert (caught.value.stdout, caught.value.stderr) == ("out\n", "err\n")


async def test_what_ignores_the_signal_is_killed(minute: str) -> None:
    with pytest.raises(ChildTimeoutError):
        await exec(f"trap '' TERM; sleep {minute} & sleep {minute}; sleep {minute}", timeout=0.2)
    assert alive(minute) == []


async def test_the_kill_signal_is_the_callers(tmp_path: Path) -> None:
    ready, said = tmp_path / "ready", tmp_path / "said"
    # A shell that waits for a program in the foreground would put the trap off until that has ended.
    script = f"trap 'echo usr1 > {said}; exit' USR1; sleep 60 & touch {ready}; wait"
    task = asyncio.create_task(exec(script, kill_signal=signal.SIGUSR1))
    await until(ready.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert said.read_text() == "usr1\n"


async def test_a_grandchild_that_holds_the_pipe_is_waited_for_until_the_timeout(minute: str) -> None:
    """The shell ends at once."""
    with pytest.raises(ChildTimeoutError):
        await exec(f"sleep {minute} &", timeout=0.2)
    assert alive(minute) == []


async def test_a_grandchild_that_lets_the_output_go_lives_on(minute: str) -> None:
    done = await exec(f"sleep {minute} > /dev/null 2>&1 & echo $!")
    assert alive(minute) == [int(done.stdout)]
    os.kill(int(done.stdout), signal.SIGKILL)


async def test_what_has_left_the_group_lives_on_and_holds_up_nobody(minute: str) -> None:
    with pytest.raises(ChildTimeoutError):
        await exec(f"setsid sleep {minute} & sleep {minute}", timeout=1)
    for pid in alive(minute):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not alive(minute))


# ---- max_buffer


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_an_overflow_has_what_was_read_and_leaves_no_process_behind(minute: str, stream: str) -> None:
    redirect = " >&2" if stream == "stderr" else ""
    with pytest.raises(MaxBufferError, match="max_buffer=1000") as caught:
        await exec(f"sleep {minute} & yes{redirect}", max_buffer=1000)
    assert getattr(caught.value, stream) == "y\n" * 500
    assert alive(minute) == []


async def test_the_limit_itself_is_no_overflow() -> None:
    done = await exec("head -c 1000 /dev/zero; head -c 1000 /dev/zero >&2", max_buffer=1000)
    assert (len(done.stdout), len(done.stderr)) == (1000, 1000)
    with pytest.raises(MaxBufferError) as caught:
        await exec_file("head", ["-c", "1001", "/dev/zero"], max_buffer=1000, encoding=None)
    assert caught.value.stdout == bytes(1000)


async def test_the_default_is_200_kib() -> None:
    assert len((await exec("head -c 204800 /dev/zero")).stdout) == 204800
    with pytest.raises(MaxBufferError):
        await exec("head -c 204801 /dev/zero")
    assert len((await exec("head -c 1000000 /dev/zero", max_buffer=None)).stdout) == 1_000_000


# ---- cancellation


@pytest.mark.parametrize("turns", range(6))
async def test_cancelled_in_its_first_turns(turns: int, minute: str) -> None:
    task = asyncio.create_task(exec(f"sleep {minute} & sleep {minute}", input="x" * 1_000_000))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(minute) == []


async def test_cancelled_while_it_runs(minute: str) -> None:
    task = asyncio.create_task(exec(f"sleep {minute} & sleep {minute}; true"))
    await until(lambda: len(alive(minute)) == 3)  # the shell's command line has it too
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(minute) == []


async def test_cancelled_after_the_child_has_ended(minute: str, tmp_path: Path) -> None:
    path = tmp_path / "ready"
    task = asyncio.create_task(exec(f"sleep {minute} & touch {path}"))
    await until(path.exists)
    await until(lambda: len(alive(minute)) == 1)  # the shell's command line had it too
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(minute) == []


async def test_cancelled_while_it_is_being_ended(minute: str, tmp_path: Path) -> None:
    """Twice: the second one does not leave anything behind either, and is not lost."""
    ready, told = tmp_path / "ready", tmp_path / "told"
    script = f"trap 'touch {told}' TERM; touch {ready}; while :; do sleep {minute} & wait; done"
    task = asyncio.create_task(exec(script, timeout=60))
    await until(ready.exists)
    task.cancel()
    await until(told.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(minute) == []


async def test_a_loop_that_ends_takes_it_along(minute: str) -> None:
    """asyncio.run cancels what still runs."""
    line = (
        "import asyncio; from aiocluster.child_process import exec\n"
        "async def main():\n"
        "    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine's imports\n"
        f"    task = asyncio.create_task(exec('sleep {minute} & sleep {minute}; true'))\n"
        "    await asyncio.sleep(0.2)\n"
        "asyncio.run(main())"
    )
    done = await exec_file(sys.executable, ["-W", "error", "-X", "dev", "-c", line])
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert alive(f"sleep {minute}") == []


async def test_the_callers_own_timeout_ends_it_too(minute: str) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.2):
            await exec(f"sleep {minute}")
    assert not isinstance(caught.value, ChildTimeoutError)
    assert alive(minute) == []
