"""fork, and spawn with "ipc": the channel, from the parent's side."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from aiocluster._wire import frames as kinds
from aiocluster._wire.codec import encode, pack
from aiocluster._wire.frames import FunctionTarget
from aiocluster.child_process import ChildProcess, fork, spawn
from aiocluster.errors import ChannelClosedError, ProtocolError, RemoteError, SerializationError
from aiocluster.events import Error, Message
from tests.support.events import several
from tests.support.raising import TYPES

from .processes import INSIDE, read_all


async def forked(name: str, *args: str, **options: Any) -> ChildProcess:
    """A child that runs that function on the loop that the test runs on."""
    env = {**os.environ, **options.pop("env", {})}
    if "uvloop" in type(asyncio.get_running_loop()).__module__:
        env["OF_UVLOOP"] = "1"
    return await fork(INSIDE, [name, *args], env=env, **options)


async def connected(port: int) -> tuple[str, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = await reader.read()
    writer.close()
    return "", said


# ---- messages


async def test_messages_both_ways_in_order() -> None:
    async with await forked("echo") as child:
        for number in range(100):
            await child.send(number)
        await child.send("end")
        heard = [message async for message in child.messages()]
        assert heard == [*({"echo": number} for number in range(100)), {"echo": "end"}]
        assert (await child.wait()).code == 0


async def test_the_message_event() -> None:
    async with await forked("echo") as child, child.events("message") as events:
        await child.send("end")
        event = await anext(events)
        assert event == Message(child.pid, {"echo": "end"})


async def test_messages_wait_for_the_first_handler() -> None:
    async with await forked("last_words", "10") as child:
        await child.wait()
        assert not child.connected
        heard: list[int] = []
        child.on("message", lambda event: heard.append(event.message[0]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert heard == list(range(10))


async def test_messages_wait_for_the_first_loop() -> None:
    async with await forked("last_words", "10") as child:
        await child.wait()
        assert [message[0] async for message in child.messages()] == list(range(10))


async def test_what_a_child_said_last_arrives_before_its_exit() -> None:
    async with await forked("last_words", "3000") as child:  # some megabytes
        happened: list[Any] = []
        child.on("message", lambda event: happened.append(event.message[0]))
        for name in ("disconnect", "exit", "close"):
            child.on(name, lambda event: happened.append(event.name))
        await child.wait_for("close")
        assert happened == [*range(3000), "disconnect", "exit", "close"]


async def test_a_child_that_takes_no_messages_slows_its_sender_down() -> None:
    count = 2000
    async with await forked("busy", stdio=("pipe", "inherit", "inherit", "ipc")) as child:

        async def send() -> None:
            for _ in range(count):
                await child.send("x" * 1000)
            child.disconnect()

        sending = asyncio.create_task(send())
        done, _ = await asyncio.wait([sending], timeout=0.5)
        assert not done
        assert child.stdin is not None
        await child.stdin.send(b"\n")
        await sending
        await child.wait()


async def test_what_cannot_be_packed_is_refused() -> None:
    async with await forked("echo") as child:
        with pytest.raises(SerializationError, match=r'message\["a"\]: set'):
            await child.send({"a": set()})
        await child.send("end")
        assert await anext(child.messages()) == {"echo": "end"}


# ---- requests


async def test_requests_both_ways() -> None:
    async with await forked("answer") as child:
        child.handle_requests(lambda message, sender: [message, sender == child.pid])
        reply = await child.request("you?", timeout=30)
        assert reply == {"asked": "you?", "by": os.getpid(), "reply": ["and you?", True]}
        with pytest.raises(RemoteError, match="KeyError: 'no such thing'"):
            await child.request("raise")
        with pytest.raises(TimeoutError):
            await child.request("wait", timeout=0.05)


async def test_a_request_whose_child_dies_is_told() -> None:
    async with await forked("answer") as child:
        waiting = asyncio.create_task(child.request("wait"))
        await asyncio.sleep(0)
        child.kill(signal.SIGKILL)
        with pytest.raises(ChannelClosedError, match=f"the child with pid {child.pid} disconnected before it replied"):
            await waiting


@pytest.mark.parametrize("what", TYPES)
async def test_what_handlers_raise_stays_with_them(what: str) -> None:
    env = {"PYTHONPATH": str(Path(__file__).parents[2])}
    async with await forked("raise_what_it_is_told", env=env) as child:
        await child.send(what)
        for when in ("now", "later"):
            with pytest.raises(RemoteError) as caught:
                await child.request([when, what], timeout=20)
            assert caught.value.type_name == TYPES[what]
        assert child.connected


# ---- handles


async def test_a_connected_socket_is_the_childs_afterwards() -> None:
    async with await forked("serve") as child:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = asyncio.create_task(connected(listening.getsockname()[1]))
            listening.setblocking(False)
            connection, _ = await asyncio.get_running_loop().sock_accept(listening)
            await child.send("connection", handles=[connection])
            assert connection.fileno() == -1
            assert (await client)[1] == f"hello from {child.pid}\n".encode()


async def test_a_listening_socket_is_both_sides() -> None:
    async with await forked("serve") as child:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            await child.send("listening", handles=[listening])
            assert listening.fileno() >= 0
            port = listening.getsockname()[1]
        assert await anext(child.messages()) == "serving"
        assert (await connected(port))[1] == f"hello from {child.pid}\n".encode()


async def test_handles_from_the_child() -> None:
    async with await forked("echo") as child:
        ours, theirs = socket.socketpair()
        with ours:
            await child.send("end", handles=[theirs], keep_open=False)
            messages = child.messages()
            assert await anext(messages) == {"echo": "end"}
            [back] = messages.handles
            with back:
                back.send(b"through two processes")
                assert ours.recv(100) == b"through two processes"


async def test_handles_that_nobody_has_taken_are_closed() -> None:
    """Or pytest would complain of an unclosed socket."""
    async with await forked("echo") as child:
        ours, theirs = socket.socketpair()
        with ours:
            await child.send("end", handles=[theirs])
            await child.wait()


# ---- slow handlers


async def test_slow_handlers_of_a_child_slow_the_parent_down() -> None:
    async with await forked("receive_slowly", stdio=("pipe", "pipe", "inherit", "ipc")) as child:
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for sent in range(2000):
                await child.send([sent, "x" * 1000])

        flooding = asyncio.ensure_future(flood())
        await asyncio.wait([flooding], timeout=0.3)
        assert not flooding.done()
        assert 400 < sent < 1100
        reply = asyncio.ensure_future(child.request(2000, timeout=20))
        await flooding
        assert await reply == 2000


@pytest.mark.parametrize("way", ["handler", "events"])
async def test_a_slow_parent_slows_a_child_down(way: str) -> None:
    async with await forked("flood", "2000") as child:
        gate = asyncio.Event()
        arrived: list[int] = []

        async def slow(event: Message) -> None:
            arrived.append(event.message[0])
            await gate.wait()

        asked = asyncio.Event()
        child.handle_requests(lambda message, sender: asked.set())
        async with child.events("message") as stream:
            if way == "handler":
                child.on("message", slow)
                stream.close()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await asked.wait()
            if way == "handler":
                assert len(arrived) < 1100
                gate.set()
            else:
                assert [(await anext(stream)).message[0] for _ in range(2000)] == list(range(2000))
                waiting = asyncio.ensure_future(anext(stream))  # so that the last one is confirmed
                await asked.wait()
                waiting.cancel()
            await asked.wait()


async def test_disconnect_confirms_what_slow_handlers_have_got() -> None:
    async with await forked("receive_slowly", stdio=("pipe", "pipe", "inherit", "ipc")) as child:
        returned: list[Any] = []
        child.on("undelivered", returned.append)
        for number in range(10):
            await child.send(number)
        child.disconnect()
        assert child.stdout is not None
        assert await read_all(child.stdout) == f"{list(range(10))}\n".encode()
        await child.wait_for("close")
        assert returned == []


# ---- how it is started


async def test_script_arguments_interpreter_and_environment(tmp_path: Path) -> None:
    async with await forked("about_itself", "a", "b c", exec_path=sys.executable, exec_args=["-X", "dev"]) as child:
        about = await anext(child.messages())
        assert about["argv"] == ["a", "b c"]
        assert about["flags"] is True
        assert about["pid"] == child.pid
        assert about["parent"] == [os.getpid(), os.getpid()]
        assert about["same"] is True
        assert about["environment"] == []
        assert child.spawn_file == sys.executable
        assert child.spawn_args == (sys.executable, "-X", "dev", str(INSIDE), "about_itself", "a", "b c")
    with pytest.raises(FileNotFoundError):
        await fork(INSIDE, exec_path=tmp_path / "nothing")


async def test_a_cluster_workers_variables_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIOCLUSTER_WORKER_ID", "AIOCLUSTER_CHANNEL_FD"):
        monkeypatch.setenv(name, "1")
    async with await forked("about_itself") as child:
        assert (await anext(child.messages()))["environment"] == []


async def test_silent_and_inherited_streams(capfd: pytest.CaptureFixture[str]) -> None:
    async with await forked("leave", silent=True) as child:
        assert child.stdin is not None
        assert await read_all(child.stdout) == b"closed\ndisconnected\n"
        assert await read_all(child.stderr) == b""
    async with await forked("leave") as child:
        assert (child.stdin, child.stdout, child.stderr) == (None, None, None)
        await child.wait()
    assert capfd.readouterr().out == "closed\ndisconnected\n"


async def test_a_script_that_is_not_there() -> None:
    async with await fork(INSIDE.with_name("nothing.py"), silent=True) as child:
        assert b"nothing.py" in await read_all(child.stderr)
        assert (await child.wait()).code == 2


async def test_fork_wants_ipc() -> None:
    for stdio in ("pipe", ("inherit", "inherit", "inherit"), ("pipe", "pipe", "pipe", "pipe")):
        with pytest.raises(ValueError, match='"ipc"'):
            await fork(INSIDE, stdio=stdio)


# ---- with and without a channel


async def test_spawn_with_ipc_is_the_same_channel() -> None:
    stdio = ("pipe", "pipe", "pipe", "ipc")
    async with await spawn(sys.executable, [INSIDE, "echo"], stdio=stdio) as child:
        assert child.connected
        await child.send("end")
        assert [message async for message in child.messages()] == [{"echo": "end"}]


async def test_a_channel_reaches_through_a_shell() -> None:
    stdio = ("pipe", "pipe", "pipe", "ipc")
    async with await spawn(f"{sys.executable} {INSIDE} echo; true", stdio=stdio, shell=True) as child:
        await child.send("end")
        assert await anext(child.messages()) == {"echo": "end"}


async def test_without_ipc_send_raises_at_once() -> None:
    async with await spawn("cat") as child:
        assert not child.connected
        with pytest.raises(ChannelClosedError, match=r'has no channel: start it with fork\(\), or with "ipc" in stdio'):
            await child.send("hello")
        with pytest.raises(ChannelClosedError, match="has no channel"):
            await child.request("hello")
        child.disconnect()


# ---- the end of the channel


async def test_disconnect_from_the_parent() -> None:
    """What was sent before arrives, and its confirmation comes back: nothing is undelivered."""
    async with await forked("listen", silent=True) as child:
        undelivered: list[Any] = []
        child.on("undelivered", undelivered.append)
        for number in range(10):
            await child.send(number)
        child.disconnect()
        assert not child.connected
        with pytest.raises(ChannelClosedError, match="has been closed"):
            await child.send("late")
        await child.wait_for("disconnect")
        await child.wait_for("disconnect")  # at once: it has happened
        assert await read_all(child.stdout) == f"{[*range(10)]}\n".encode()
        assert (await child.wait()).code == 0
    assert undelivered == []


async def test_disconnect_from_the_child() -> None:
    async with await forked("leave", silent=True) as child:
        assert [message async for message in child.messages()] == ["before"]
        assert not child.connected
        assert await read_all(child.stdout) == b"closed\ndisconnected\n"
        assert (await child.wait()).code == 0


async def test_what_a_dead_child_had_not_confirmed_comes_back() -> None:
    async with await forked("busy", stdio=("pipe", "inherit", "inherit", "ipc")) as child:
        child.kill(signal.SIGSTOP)
        undelivered: list[Any] = []
        child.on("undelivered", lambda event: undelivered.append(event.message))
        await child.send(1)
        await child.send(2)
        await asyncio.sleep(0)  # they leave at the end of the turn
        child.kill(signal.SIGKILL)
        await child.wait()
        await child.aclose()
        assert undelivered == [1, 2]


@pytest.mark.parametrize(
    "written",
    [
        b"GET / HTTP/1.1\r\n",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x01\xc0",
        b"\0\0\0\x02\x91\x63",
        b"\0\0\0\x05\x94\x01\0\x01\xc0",
    ],
    ids=["http", "too long", "no array", "unknown kind", "no message"],
)
async def test_broken_frames_end_the_channel_and_nothing_else(written: bytes) -> None:
    stdio = ("pipe", "inherit", "inherit", "ipc")
    async with (
        await forked("babble", written.hex(), stdio=stdio) as child,
        await forked("echo") as other,
        several(child, "error", "disconnect") as events,
    ):
        event = await anext(events)
        assert isinstance(event, Error)
        assert isinstance(event.error, ProtocolError)
        assert (await anext(events)).name == "disconnect"
        assert child.exit_code is None
        assert child.exit_signal is None
        with pytest.raises(ChannelClosedError):
            await child.send("hello")
        await other.send("end")
        assert await anext(other.messages()) == {"echo": "end"}
        assert child.stdin is not None
        await child.stdin.aclose()
        assert (await child.wait()).code == 0


async def test_a_child_may_not_run_code_here(tmp_path: Path) -> None:
    """It gets an error for an answer."""
    path = tmp_path / "ran"
    named = FunctionTarget("pathlib", "Path.touch").array()
    frame = encode(kinds.CALL, 0, 1, pack([named, [str(path)]]))
    stdio = ("pipe", "pipe", "inherit", "ipc")
    async with await forked("babble", frame.hex(), stdio=stdio) as child:
        assert child.stdin is not None
        await child.stdin.send(b"and then?\n")
        await child.stdin.aclose()
        assert b"only a primary may have functions called" in await read_all(child.stdout)
        assert (await child.wait()).code == 0
    assert not path.exists()
