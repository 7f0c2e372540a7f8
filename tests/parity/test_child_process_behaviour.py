"""What Node's own tests of `child_process` show, where no other test does; see docs/reference/parity_tests.md."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pytest
from anyio.abc import ByteReceiveStream

from aiocluster import ChannelClosedError, MaxBufferError
from aiocluster.child_process import ChildProcess, exec, exec_file, fork, spawn

CHILDREN = Path(__file__).with_name("children.py")


@asynccontextmanager
async def child(*args: str, **options: Any) -> AsyncIterator[ChildProcess]:
    """A fork that runs the function of `children` with that name."""
    async with await fork(CHILDREN, args, **options) as started:
        yield started


async def text_of(stream: ByteReceiveStream | None) -> str:
    assert stream is not None
    return b"".join([data async for data in stream]).decode()


async def said(sock: socket.socket) -> bytes:
    """What the other end says before it closes."""
    sock.setblocking(False)
    heard = b""
    while data := await asyncio.get_running_loop().sock_recv(sock, 100):
        heard += data
    return heard


# ---- exec and exec_file


async def test_the_limit_counts_bytes_not_characters() -> None:
    assert (await exec("printf '中文测试'", max_buffer=12)).stdout == "中文测试"
    with pytest.raises(MaxBufferError) as caught:
        await exec("printf '中文测试'", max_buffer=9)
    assert caught.value.stdout == "中文测"


async def test_a_timeout_that_is_not_reached_changes_nothing() -> None:
    done = await exec("echo out; echo err >&2", timeout=2**30)
    assert (done.stdout, done.stderr, done.code, done.signal) == ("out\n", "err\n", 0, None)


async def test_an_exit_code_and_arguments_that_nobody_interprets() -> None:
    done = await exec_file("sh", ["-c", 'echo "$1"; exit 42', "sh", "$HOME * ; exit"])
    assert (done.stdout, done.code, done.signal) == ("$HOME * ; exit\n", 42, None)


# ---- spawn


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (lambda: spawn(""), OSError),
        (lambda: spawn(0), TypeError),  # type: ignore[arg-type]
        (lambda: spawn("true", [0]), TypeError),  # type: ignore[list-item]
        (lambda: spawn("true", uid=2**63), (OSError, OverflowError, ValueError)),
        (lambda: spawn("true", gid=2**63), (OSError, OverflowError, ValueError)),
        (lambda: spawn("true\0"), ValueError),
        (lambda: fork(0), TypeError),  # type: ignore[arg-type]
        (lambda: fork(CHILDREN, [0]), TypeError),  # type: ignore[list-item]
    ],
)
async def test_nonsense_starts_nothing(start: Callable[[], Awaitable[ChildProcess]], error: Any) -> None:
    with pytest.raises(error):
        await start()


async def test_a_shell_is_what_runs_and_has_the_environment() -> None:
    async with await spawn("does-not-exist", shell=True, stdio="ignore") as missing:
        assert missing.spawn_file == "/bin/sh"
        assert (await missing.wait()).code == 127
    async with await spawn("echo bar | cat; echo $BAZ", shell=True, env={**os.environ, "BAZ": "buzz"}) as piped:
        assert await text_of(piped.stdout) == "bar\nbuzz\n"


async def test_a_command_is_looked_up_in_the_path_of_its_environment(tmp_path: Path) -> None:
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    async with await spawn("only-here", env={"PATH": str(tmp_path)}) as started:
        assert await text_of(started.stdout) == "found\n"
    assert (await exec_file("only-here", env={"PATH": str(tmp_path)})).stdout == "found\n"


# ---- stdio


async def test_much_input_arrives_before_the_end_of_it() -> None:
    size = 5_000_000
    async with await spawn("wc", ["-c"]) as counting:
        assert counting.stdin is not None
        await counting.stdin.send(b"." * size)
        await counting.stdin.aclose()
        assert int(await text_of(counting.stdout)) == size


async def test_a_childs_child_has_the_same_streams() -> None:
    async with await spawn(sys.executable, [CHILDREN, "run_cat"], stdio=("pipe", "pipe", "inherit")) as middle:
        assert middle.stdin is not None
        await middle.stdin.send(b"asdfasdf")
        await middle.stdin.aclose()
        assert await text_of(middle.stdout) == "asdfasdf"
        assert (await middle.wait()).code == 0


@contextmanager
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Both ends of one; either may be closed before."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "wb", buffering=0) as writer:
        yield reader, writer


async def test_two_children_write_into_a_third_one() -> None:
    with pipe() as (reading, writing):
        async with await spawn("cat", stdio=(reading, "pipe", "inherit")) as last:
            assert last.stdout is not None
            for text in (b"hello\n", b"world\n"):
                async with await spawn("cat", stdio=("pipe", writing, "inherit")) as first:
                    assert first.stdin is not None
                    await first.stdin.send(text)
                    assert await last.stdout.receive() == text
            writing.write(b"foobar\n")
            writing.close()
            assert await text_of(last.stdout) == "foobar\n"


async def test_what_one_reader_left_is_read_by_the_next() -> None:
    with pipe() as (reading, writing):
        async with await spawn("cat", stdio=("pipe", writing, "inherit")) as source:
            writing.close()
            assert source.stdin is not None
            async with await spawn("head", ["-n1"], stdio=(reading, "pipe", "inherit")) as head:
                await source.stdin.send(b"hello\n")
                assert await text_of(head.stdout) == "hello\n"
                await head.wait()
            await source.stdin.send(b"world\n")
            await source.stdin.aclose()
            await source.wait()
        assert reading.read() == b"world\n"


# ---- fork


async def test_fork_takes_the_interpreter_it_is_given_and_no_shell(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nINTERPRETER=mine exec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    options = {"exec_path": interpreter, "env": {**os.environ, "FOO": "bar"}}
    async with child("describe", "$FOO", "a  b", **options) as started:
        args, env = await anext(started.messages())
        assert args == ["$FOO", "a  b"]
        assert (env["FOO"], env["INTERPRETER"]) == ("bar", "mine")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_fork_too_can_be_given_a_time(number: signal.Signals) -> None:
    async with child("stay", timeout=0.01, kill_signal=number, silent=True) as started:
        assert (await started.wait()).signal is number


async def test_sending_to_one_that_has_ended() -> None:
    async with child("nothing") as started:
        assert (await started.wait()).code == 0
        for _ in range(2):
            with pytest.raises(ChannelClosedError):
                await started.send("ping")


async def test_a_handle_that_is_no_socket_is_refused_and_harms_nothing() -> None:
    async with child("echo") as started:
        for nonsense in ("meow", 0, None):
            with pytest.raises(TypeError):
                await started.send("msg", [nonsense])
        await started.send("msg")
        assert await anext(started.messages()) == "msg"


async def test_a_long_text_arrives_whole() -> None:
    async with child("say", "ß", "400000") as started:
        assert await anext(started.messages()) == "ß" * 400_000


async def test_a_program_may_forget_its_child() -> None:
    command = [sys.executable, str(CHILDREN), "forget_one"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_detached_fork_outlives_its_parent() -> None:
    done = await exec_file(sys.executable, [str(CHILDREN), "leave_one_behind"])
    assert (done.code, done.stderr) == (0, "")
    left = psutil.Process(int(done.stdout))
    try:
        assert left.status() != psutil.STATUS_ZOMBIE
    finally:
        left.kill()


# ---- sockets


async def test_a_connection_that_is_kept_open_has_two_writers() -> None:
    async with child("take", "connections") as started, started.events("message") as heard:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            await started.send("child", [ours], keep_open=True)
            assert (await anext(heard)).message == "done"
            ours.sendall(b"parent")
            ours.close()
            assert await said(theirs) == b"childparent"


async def test_connections_of_several_children_end_when_they_are_disconnected() -> None:
    async with child("take", "hold") as one, child("take", "hold") as two, child("take", "hold") as three:
        clients = []
        for number in range(12):
            ours, theirs = socket.socketpair()
            clients.append(theirs)
            await (one, two, three)[number % 3].send(f"{number}", [ours])
        for started in (one, two, three):
            started.disconnect()
            assert (await started.wait()).code == 0
        for number, client in enumerate(clients):
            with client:
                assert await said(client) == b"%d end" % number


async def test_a_server_is_shared_with_the_child() -> None:
    loop = asyncio.get_running_loop()
    async with child("take", "listen") as started, started.events("message") as heard:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            await started.send("server", [listening])
            assert (await anext(heard)).message == "listening"
            with socket.create_connection(listening.getsockname()) as client:
                assert await said(client) == b"child"
            with socket.create_connection(listening.getsockname()):  # the child accepts one, this is ours
                connection, _ = await loop.sock_accept(listening)
                connection.close()


async def test_a_udp_socket_is_shared_with_the_child() -> None:
    loop = asyncio.get_running_loop()
    async with child("take", "datagrams") as started, started.events("message") as heard:
        with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as client:
            for sock in (ours, client):
                sock.bind(("127.0.0.1", 0))
                sock.setblocking(False)
            await started.send("server", [ours])
            assert (await anext(heard)).message == "bound"
            client.sendto(b"one", ours.getsockname())
            assert await loop.sock_recv(client, 100) == b"child heard one"
            client.sendto(b"two", ours.getsockname())
            assert await loop.sock_recv(ours, 100) == b"two"
