"""ChildProcess: its life, its events, and what becomes of it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiocluster.child_process import ChildProcess, exec_file, fork, spawn
from aiocluster.errors import ClusterError
from aiocluster.events import ChildExit, Close, Spawn

from .processes import INSIDE, alive, gone, is_root, read_all, until

# ---- how it is started


async def test_what_it_says_of_itself() -> None:
    async with await spawn("sh", ["-c", "exit 3"], argv0="shell") as child:
        assert child.spawn_file == "sh"
        assert child.spawn_args == ("shell", "-c", "exit 3")
        assert (child.exit_code, child.exit_signal, child.killed, child.connected) == (None, None, False, False)
        assert repr(child) == f"<ChildProcess {child.pid}, sh, running>"
        exit = await child.wait()
        assert exit == ChildExit(child, 3, None)
        assert (child.exit_code, child.exit_signal, child.killed) == (3, None, False)
        assert repr(child) == f"<ChildProcess {child.pid}, sh, code 3, signal None>"


async def test_argv0() -> None:
    async with await spawn("sh", ["-c", "ps -o args= -p $$"], argv0="other name") as child:
        assert (await read_all(child.stdout)).startswith(b"other name -c")


async def test_cwd_and_env(tmp_path: Path) -> None:
    async with await spawn("sh", ["-c", "pwd -P; echo $VALUE $HOME"], cwd=tmp_path, env={"VALUE": "1"}) as child:
        assert (await read_all(child.stdout)).decode().split() == [os.path.realpath(tmp_path), "1"]


@pytest.mark.skipif(not is_root(), reason="needs root")
async def test_uid_and_gid() -> None:
    async with await spawn("sh", ["-c", "id -u; id -g; id -G"], uid=65534, gid=65533) as child:
        assert (await read_all(child.stdout)).split() == [b"65534", b"65533", b"65533"]


@pytest.mark.parametrize("shell", [True, "/bin/bash"])
async def test_a_shell_takes_the_command_as_it_is_and_its_arguments_quoted(shell: bool | str) -> None:
    async with await spawn("echo $0; echo", ["$HOME", "a  b", "`ls`"], shell=shell) as child:
        name = "/bin/sh" if shell is True else "/bin/bash"
        assert (await read_all(child.stdout)).decode() == f"{name}\n$HOME a  b `ls`\n"


async def test_what_cannot_be_started_leaves_nothing_open() -> None:
    """conftest looks."""
    with pytest.raises(FileNotFoundError):
        await spawn("no-such-program-anywhere", stdio=("pipe", "pipe", "pipe", "ipc"))
    with pytest.raises(FileNotFoundError):
        await spawn("true", cwd="/no/such/directory")


async def test_no_descriptors_left() -> None:
    """Wherever the limit strikes: nothing is left open, and nothing runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0) for _ in range(3)]
    lowest = taken[0]
    for fd in taken:
        os.close(fd)
    failed = 0
    for room in range(16):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + room, hard))
        try:
            child = await spawn("true", stdio=("pipe", "pipe", "pipe", "ipc"))
        except OSError:
            failed += 1
            continue
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await child.aclose()
    assert failed


# ---- events


async def test_events_in_their_order() -> None:
    child = await spawn("sh", ["-c", "echo out; exit 3"])
    heard: list[Any] = []
    for name in ("spawn", "exit", "close"):
        child.on(name, heard.append)
    assert heard == []
    await child.wait()
    assert heard == [Spawn(child), ChildExit(child, 3, None)]  # what it wrote has not been read
    assert await read_all(child.stdout) == b"out\n"
    assert await read_all(child.stderr) == b""
    assert heard[2:] == [Close(child, 3, None)]
    assert await child.wait_for("spawn") == heard[0]
    assert await child.wait_for("exit") == heard[1]
    assert await child.wait_for("close") == heard[2]


async def test_streams_may_end_before_the_process_does() -> None:
    async with await spawn("sh", ["-c", "exec >&- 2>&-; read line"]) as child:
        heard: list[str] = []
        child.on("exit", lambda event: heard.append("exit"))
        child.on("close", lambda event: heard.append("close"))
        assert await read_all(child.stdout) == b""
        assert await read_all(child.stderr) == b""
        assert heard == []
        assert child.stdin is not None
        await child.stdin.send(b"\n")
        await child.wait_for("close")
        assert heard == ["exit", "close"]


async def test_async_handlers_finish() -> None:
    heard = []
    async with await spawn("true") as child:

        @child.on("exit")
        async def exited(event: ChildExit) -> None:
            await asyncio.sleep(0)
            heard.append(event.signal or event.code)

    assert heard in ([0], [signal.SIGTERM])


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
async def test_kill(number: signal.Signals) -> None:
    async with await spawn("sleep", ["60"]) as child:
        assert child.kill(0)
        assert not child.killed
        assert child.kill(number)
        assert child.killed
        assert await child.wait() == ChildExit(child, None, number)
        assert (child.exit_code, child.exit_signal) == (None, number)
        assert not child.kill()


async def test_a_signal_that_it_handles_is_no_end() -> None:
    async with await spawn(
        "sh", ["-c", "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.01; done"]
    ) as child:
        assert child.stdout is not None
        assert await child.stdout.receive() == b"ready\n"
        child.kill()
        assert await child.stdout.receive() == b"told\n"
        assert (await child.wait()).code == 5


async def test_one_text_is_not_a_sequence_of_arguments() -> None:
    for start in (spawn("echo", "hello"), exec_file("echo", "hello"), fork("x.py", "hello")):
        with pytest.raises(TypeError, match=r"^args must be a sequence of str or paths, not 'hello'$"):
            await start
    with pytest.raises(TypeError, match=r"^exec_args must be a sequence of str or paths, not '-I'$"):
        await fork("x.py", exec_args="-I")
    with pytest.raises(ValueError, match=r"^args must not contain a null character"):
        await spawn("echo", ["a\0b"])


@pytest.mark.parametrize(("timeout", "error"), [(float("nan"), ValueError), (-1, ValueError), ("5", TypeError)])
async def test_what_is_no_timeout(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^timeout must be a number of seconds from 0 on, not "):
        await spawn("true", timeout=timeout)


async def test_timeout() -> None:
    async with await spawn("sleep", ["60"], timeout=0.05, kill_signal=signal.SIGINT) as child:
        assert (await child.wait()).signal == signal.SIGINT
        assert child.killed
    async with await spawn("true", timeout=60) as child:
        assert (await child.wait()).code == 0


# ---- leaving


async def test_leaving_ends_it(minute: str) -> None:
    async with await spawn("sleep", [minute]) as child:
        assert alive(minute) == [child.pid]
    assert child.exit_signal == signal.SIGTERM
    assert alive(minute) == []
    await child.aclose()


async def test_an_exception_ends_it_too(minute: str) -> None:
    with pytest.raises(KeyError):
        async with await spawn("sleep", [minute]):
            raise KeyError
    assert alive(minute) == []


async def test_what_ignores_sigterm_is_killed_once_the_caller_does_not_wait(minute: str) -> None:
    async def stubborn() -> None:
        async with await spawn("sh", ["-c", f"trap '' TERM; sleep {minute} & echo ready; wait"]) as child:
            assert child.stdout is not None
            assert await child.stdout.receive() == b"ready\n"
            leaving.set()

    leaving = asyncio.Event()
    task = asyncio.create_task(stubborn())
    await leaving.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: alive(minute))
    [orphan] = alive(minute)  # what a child has started is that child's to end
    os.kill(orphan, signal.SIGKILL)


@pytest.mark.parametrize("turns", range(5))
async def test_cancelled_in_its_first_turns(turns: int, minute: str) -> None:
    async def work() -> None:
        async with await spawn("sleep", [minute], stdio=("pipe", "pipe", "pipe", "ipc")) as child:
            await child.wait()

    task = asyncio.create_task(work())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(minute) == []


@pytest.mark.parametrize("what", ["wait", "receive", "send", "wait_for", "request", "messages"])
async def test_cancelled_while_it_waits(what: str, minute: str) -> None:
    """And the child is as it was: what was waited for can be waited for again."""
    async with await spawn("sleep", [minute], stdio=("pipe", "pipe", "pipe", "ipc")) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        stdin = child.stdin
        works: dict[str, Callable[[], Awaitable[Any]]] = {
            "wait": child.wait,
            "receive": child.stdout.receive,
            "send": lambda: stdin.send(bytes(1_000_000)),
            "wait_for": lambda: child.wait_for("exit"),
            "request": lambda: child.request("hello"),
            "messages": lambda: anext(child.messages()),
        }
        for _ in range(2):
            task = asyncio.ensure_future(works[what]())
            done, _ = await asyncio.wait([task], timeout=0.05)
            assert not done
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert alive(minute) == [child.pid]


async def test_without_async_with_nothing_is_left_once_it_has_ended() -> None:
    child = await spawn("sh", ["-c", "echo out"])
    assert await read_all(child.stdout) == b"out\n"
    assert await read_all(child.stderr) == b""
    await child.wait()


async def test_a_forgotten_child_takes_its_pipes_along() -> None:
    """It is neither ended nor warned of: Node's children live on as well."""
    child: ChildProcess | None = await spawn("cat")
    assert child is not None
    pid = child.pid
    child.kill()
    await child.wait()
    child = None
    await asyncio.sleep(0)  # the turn that has woken us up still holds its exit
    gc.collect()
    await gone(pid)


async def test_a_child_that_is_not_closed_outlives_its_parent(minute: str) -> None:
    done = await exec_file(sys.executable, ["-W", "error", INSIDE, "start_and_end", minute])
    assert (done.code, done.stderr) == (0, "")
    assert alive(minute) == [int(done.stdout)]
    os.kill(int(done.stdout), signal.SIGKILL)


# ---- streams


async def test_writing_to_what_does_not_read() -> None:
    async with await spawn("sh", ["-c", "exec <&-; echo ready; sleep 60"]) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        await child.stdout.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await child.stdin.send(b"hello")
        await child.stdin.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await child.stdin.send(b"hello")


async def test_much_of_both_streams() -> None:
    async with await spawn("sh", ["-c", "head -c 1000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait"]) as child:
        out, err = await asyncio.gather(read_all(child.stdout), read_all(child.stderr))
        assert (len(out), len(err)) == (1_000_000, 2_000_000)


# ---- detached


async def test_a_detached_child_leads_its_own_session_and_outlives_its_parent(minute: str) -> None:
    done = await exec_file(sys.executable, ["-W", "error", INSIDE, "start_detached", minute])
    assert (done.code, done.stderr) == (0, "")
    pid, group, session = map(int, done.stdout.split())
    assert pid == group == session
    assert alive(minute) == [pid]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: alive(minute) == [])


async def test_leaving_a_detached_child_leaves_it_alone(minute: str) -> None:
    async with await spawn("sleep", [minute], detached=True) as child:
        assert os.getsid(child.pid) == child.pid
        waiting = asyncio.create_task(child.wait())
        await asyncio.sleep(0)
    assert alive(minute) == [child.pid]
    assert not child.kill()
    for wait in (waiting, child.wait()):
        with pytest.raises(ClusterError, match="running> is detached and was closed"):
            await wait
    os.kill(child.pid, signal.SIGKILL)
    await gone(child.pid)  # reaped: it does not stay a zombie


async def test_a_detached_child_can_be_waited_for_and_killed() -> None:
    async with await spawn("sleep", ["60"], detached=True) as child:
        child.kill()
        assert (await child.wait()).signal == signal.SIGTERM
