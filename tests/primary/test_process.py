"""WorkerProcess: its states, its end, its streams, and what its nonsense on the channel does to others: nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest

from aiocluster import ChannelClosedError, Cluster, Primary, ProtocolError, RestartPolicy, current_worker, is_worker
from aiocluster._primary.session import Session
from aiocluster._wire import frames
from aiocluster._wire.endpoint import Endpoint
from aiocluster.events import Disconnect, Error, Exit, Listening, Message
from aiocluster.settings import Loop, StartMethod
from tests.primary import nobody
from tests.support.events import several
from tests.support.serving import ask, serving
from tests.support.turns import turns

from .inside_process import (
    chatty,
    end_the_loop,
    exit_with,
    idle,
    kill_oneself,
    leaves_an_heir,
    misbehave,
    misbehave_without_a_port,
    never_reply,
    read_all,
)

# ---- targets


ASK_CHILD = """
import os, sys
from aiocluster import is_primary, is_worker
inherited = sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2)
listing = [fd for fd in inherited if os.path.exists(f"/proc/self/fd/{fd}")]
print(is_worker(), is_primary(), len(listing))
"""


async def has_children() -> None:
    """A child by subprocess and one by fork: neither is a worker, and neither holds the channel."""
    child = subprocess.run([sys.executable, "-c", ASK_CHILD], capture_output=True, text=True, check=True)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        channel = int(os.environ["AIOCLUSTER_CHANNEL_FD"])
        try:
            os.fstat(channel)
            held = True
        except OSError:
            held = False
        os.write(writing, repr((is_worker(), held)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        forked = pipe.read()
    os.waitpid(pid, 0)
    await current_worker().send([child.stdout.strip(), forked])


async def leaves_a_child() -> None:
    """Ends while a child of its own lives on."""
    child = subprocess.Popen(["sleep", "60"])
    await current_worker().send(child.pid)
    child.returncode = 0  # not this test's subject: spares the warning


# ---- a bug of ours


async def test_a_bug_in_the_primary_is_not_the_workers_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traceback is logged, and the healthy worker lives on."""
    is_called = asyncio.Event()

    def buggy(self: Session, frame: frames.Report) -> None:
        is_called.set()
        raise KeyError("a bug in the primary's own code")

    monkeypatch.setattr(Session, "_on_report", buggy)
    async with Primary(idle, heartbeat=0.05) as primary, several(primary, "error", "exit", "message") as heard:
        worker = await primary.fork()
        await is_called.wait()
        assert (await anext(heard)).message == "running"
        await worker.send("still there")
        assert not worker.is_dead()
    records = [record for record in caplog.records if record.name == "aiocluster.channel"]
    assert records
    assert all(record.exc_info is not None and record.exc_info[0] is KeyError for record in records)


# ---- its life


async def test_kill_and_wait() -> None:
    async with Primary(idle) as primary:
        worker = await primary.fork()
        assert worker.exited_after_disconnect is None
        assert not worker.is_dead()
        assert worker.is_connected()
        assert psutil.pid_exists(worker.pid)
        await worker.wait_for("online")
        worker.kill()
        exit = await worker.wait()
        assert exit == Exit(worker, None, signal.SIGTERM, "killed")
        assert (worker.exit_code, worker.exit_signal) == (None, signal.SIGTERM)
        assert worker.exited_after_disconnect is False
        await worker.wait_gone()
        assert worker.state == "dead"
        assert not worker.is_connected()
        worker.kill()  # nothing to kill any more
        assert await worker.wait() == exit


@pytest.mark.parametrize("code", [0, 3])
async def test_exit_code(code: int) -> None:
    async with Primary(exit_with, args=[str(code)]) as primary:
        worker = await primary.fork()
        assert await worker.wait() == Exit(worker, code, None, "returned" if code == 0 else "failed")
        assert worker.exited_after_disconnect is False


async def test_killed_by_itself() -> None:
    async with Primary(kill_oneself) as primary:
        worker = await primary.fork()
        assert (await worker.wait()).signal is signal.SIGKILL


async def test_send_to_one_that_is_gone() -> None:
    async with Primary(never_reply) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        assert (await anext(heard)).message == "running"
        waiting = asyncio.ensure_future(worker.request("a question"))
        assert (await anext(heard)).message == "a question"
        worker.kill(signal.SIGKILL)
        await worker.wait_gone()
        with pytest.raises(ChannelClosedError):
            await worker.send("too late")
        with pytest.raises(ChannelClosedError):
            await worker.request("too late")
        with pytest.raises(
            ChannelClosedError, match=rf"^worker 1 \(pid {worker.pid}\) disconnected before it replied$"
        ):
            await waiting


async def test_one_whose_event_loop_has_ended_is_told_to_leave_by_a_signal() -> None:
    async with Primary(end_the_loop, silent=True) as primary:
        worker = await primary.fork()
        assert worker.stdout is not None
        assert await worker.stdout.receive() == b"its loop has ended\n"
        await turns()  # what it had said on its channel before is read by then
        await worker.disconnect()
        assert (worker.exit_code, worker.exit_reason, worker.exited_after_disconnect) == (0, "told", True)


async def test_what_has_happened_is_not_waited_for_again() -> None:
    async with Primary(idle) as primary:
        worker = await primary.fork()
        await worker.wait_for("online")
        worker.kill()
        await worker.wait_gone()
        for name in ("fork", "online", "disconnect", "exit"):
            assert (await worker.wait_for(name)).worker is worker


# ---- streams


async def test_silent_streams(capfd: pytest.CaptureFixture[str]) -> None:
    count = 20_000  # more than a pipe holds
    async with Primary(chatty, args=[str(count)], silent=True) as primary:
        worker = await primary.fork()
        out, err = await asyncio.gather(read_all(worker.stdout), read_all(worker.stderr))
        await worker.wait_gone()
        assert out.decode().splitlines() == [f"out {number}" for number in range(count)]
        assert err.decode().splitlines() == [f"err {number}" for number in range(count)]
    assert capfd.readouterr() == ("", "")


async def test_streams_are_inherited_unless_silent(capfd: pytest.CaptureFixture[str]) -> None:
    async with Primary(chatty, args=["2"]) as primary:
        worker = await primary.fork()
        assert worker.stdout is None
        assert worker.stderr is None
        await worker.wait_gone()
    assert capfd.readouterr() == ("out 0\nout 1\n", "err 0\nerr 1\n")


# ---- uid and gid


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
async def test_uid_and_gid() -> None:
    async with Primary(nobody.tell_ids, uid=65534, gid=65533, loop="asyncio") as primary:
        async with several(primary, "message", "exit") as heard:
            await primary.fork()
            event = await anext(heard)
            assert isinstance(event, Message)
            assert event.message == [65534, 65533, []]


@pytest.mark.skipif(os.getuid() == 0, reason="root may")
async def test_another_uid_without_the_right_to_it() -> None:
    async with Primary(nobody.tell_ids, uid=0) as primary, primary.events("error") as heard:
        await primary.fork()
        assert "PermissionError" in str((await anext(heard)).error)


# ---- hostile bytes


def frame(*fields: Any) -> bytes:
    body: bytes = msgpack.packb(fields)
    return struct.pack(">I", len(body)) + body


def wish(family: int, kind: int, host: str = "", path: bytes = b"", **fields: Any) -> bytes:
    endpoint = Endpoint(int(family), int(kind), host, path=path)
    given: dict[str, Any] = {"scheduling": None, "inode": None, "cleanup": None, "is_listening": True, **fields}
    return frames.Listen(number=1, endpoint=endpoint, backlog=100, **given).encode()


HOSTILE: dict[str, dict[str, bytes]] = {
    "no frames": {
        "garbage": b"GET / HTTP/1.1\r\n\r\n" * 10,
        "no msgpack": struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1",
        "no array": struct.pack(">I", 1) + b"\x05",
        "empty array": struct.pack(">I", 1) + b"\x90",
        "empty frame": struct.pack(">I", 0),
        "over the limit": struct.pack(">I", 64 * 1024 * 1024 + 1) + b"x",
    },
    "no frames of a worker's": {
        "unknown kind": frame(250),
        "kind of another type": frame("online"),
        "too few fields": frame(42),
        "fields of the wrong types": frame(45, "x", None, []),
        "a frame of the primary's": frame(20, {}),
        "descriptors that did not come": frame(2, os.getpid(), 3, b"\xc0"),
        "confirms what was not sent": frame(9, os.getpid(), 1_000_000, b""),
        "a message that is none": frame(1, os.getpid(), 1, b"\xc1"),
    },
    "numbers": {
        "more taken than given": frame(45, 1, 1000, 0),
        "a negative count taken": frame(45, 1, -1, 0),
        "a negative count accepted": frame(49, 1, -1),
        "more closed than open": frame(46, 1, 1000),
        "a negative count closed": frame(46, 1, -1),
        "late by no number": frame(50, float("nan"), 1, 1),
        "late by less than nothing": frame(50, -1.0, 1, 1),
        "binds a path that it did not ask for": frame(54, 99),
        "serves a port it was not given": frame(43, 2),
        "closes a port it was not given": frame(44, 2),
    },
    "wishes": {
        "a strange wish to listen": frame(42, 1, {"family": 99, "nonsense": 1}),
        "listens at a host name": wish(socket.AF_INET, socket.SOCK_STREAM, host="localhost"),
        "listens at no address": wish(socket.AF_INET6, socket.SOCK_STREAM, host="::1%" + "x" * 1000),
        "listens on a raw socket": wish(socket.AF_INET, socket.SOCK_RAW, host="127.0.0.1"),
        "listens on packets": wish(socket.AF_PACKET, socket.SOCK_STREAM) if sys.platform == "linux" else b"\xff",
        "listens at an endless path": wish(socket.AF_UNIX, socket.SOCK_STREAM, path=b"/" * 5000),
        "an inode of many numbers": wish(socket.AF_UNIX, socket.SOCK_STREAM, path=b"/a", inode=[1] * 1000),
        "an endless policy": wish(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", scheduling="x" * 2000),
    },
}


@pytest.mark.timeout(180)  # it starts up to twelve workers, one after the other
@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_bytes_cost_their_worker_alone(
    hostile: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """Each is written by a worker of its own, the replacement of the one before; the same good worker sees all go."""
    cluster = Cluster(
        misbehave,
        workers=2,
        scheduling="round_robin",  # exact: the other one may be cold
        restart=RestartPolicy(limit=len(hostile), backoff=(0.0, 0.0)),
    )
    async with several(cluster, "error", "disconnect", "exit", "listening") as heard:
        async with serving(cluster, 2) as address:
            bad, good = cluster.workers.values()
            while (await anext(heard)).name != "listening":
                pass
            await anext(heard)
            for what, data in hostile.items():
                caplog.clear()
                await bad.send(data)
                error: Error = await anext(heard)
                assert isinstance(error, Error), what
                assert error.worker is bad
                assert isinstance(error.error, ProtocolError), what
                # The replacement may be faster than the dead worker's exit.
                ends = {type(event): event.worker for event in [await anext(heard) for _ in range(3)]}
                replacement = ends.pop(Listening)
                assert ends == {Disconnect: bad, Exit: bad}, what
                assert replacement is not bad
                assert good.is_connected()
                answers = [await ask(address) for _ in range(4)]
                assert sorted(answers) == sorted([good.pid, replacement.pid] * 2), what
                assert bad.exit_signal is signal.SIGKILL, what
                assert "is dropped" in caplog.text, what
                bad = replacement


async def test_a_port_that_a_worker_never_asked_for() -> None:
    """It gets no client of the others by saying that it serves their port."""
    async with Primary(misbehave) as primary, primary.events("listening") as heard:
        honest = await primary.fork()
        address = (await anext(heard)).address
        primary.setup(target=misbehave_without_a_port)
        hostile = await primary.fork()
        await hostile.wait_for("online")
        (number,) = primary._shared.ports.by_number
        await hostile.send(frames.Serving(number).encode())
        await hostile.wait()
        assert hostile.exit_signal is signal.SIGKILL
        assert [await ask(address) for _ in range(4)] == [honest.pid] * 4


# ---- a worker's own children


async def test_a_workers_children_are_no_workers(worker_loop: Loop) -> None:
    async with Primary(has_children, loop=worker_loop) as primary, primary.events("message") as heard:
        await primary.fork()
        # The only descriptor beyond stdio is the one that listdir had open, and closed.
        assert (await anext(heard)).message == ["False True 0", "(False, False)"]


async def test_a_workers_child_does_not_hold_the_channel() -> None:
    async with Primary(leaves_a_child) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        pid = (await anext(heard)).message
        try:
            await worker.wait_gone()
            assert psutil.pid_exists(pid)
        finally:
            os.kill(pid, signal.SIGKILL)


async def test_an_heir_that_goes_on_writing(worker_loop: Loop) -> None:
    """A worker has passed its channel on, and is gone; what has it now writes without end. The primary goes on."""
    async with Primary(leaves_an_heir, loop=worker_loop) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        heir = (await anext(heard)).message
        try:
            await worker.send("leave")
            assert (await worker.wait()).code == 7
            await worker.wait_gone()
        finally:
            os.kill(heir, signal.SIGKILL)


# ---- uid and gid, once more


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
@pytest.mark.parametrize("uid", [65534, 54321])  # of these only the first one is in passwd(5)
@pytest.mark.parametrize("start_method", ["spawn", "template"])
async def test_a_uid_alone_leaves_every_group_of_roots(uid: int, start_method: StartMethod) -> None:
    groups = os.getgroups()
    os.setgroups([0, 4, 42])
    try:
        async with Primary(nobody.tell_ids, uid=uid, start_method=start_method, loop="asyncio") as primary:
            async with primary.events("message") as heard:
                await primary.fork()
                assert (await anext(heard)).message == [uid, 65534, []]
    finally:
        os.setgroups(groups)


# ---- orphans

LEADER = """
import asyncio, sys
sys.path.insert(0, {root!r})
from aiocluster import Cluster
from tests.primary import inside_process, nobody

async def main():
    async with Cluster({target}, workers=3, **{settings}) as cluster:
        print(*[worker.pid for worker in cluster.workers.values()], flush=True)
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("state", ["serving_idly", "sleeping", "stopped", "other_user", "stopped_fork"])
def test_no_worker_outlives_the_primary(state: str, how: signal.Signals, tmp_path: Path) -> None:
    if state == "other_user" and os.getuid() != 0:
        pytest.skip("needs root")
    root = str(Path(__file__).parent.parent.parent)
    settings: dict[str, object] = {"graceful_timeout": 1.0}
    if state == "stopped_fork":
        settings["start_method"] = "template"
    if state == "other_user":
        settings.update(uid=65534, gid=65534, loop="asyncio")
    target = {"serving_idly": "inside_process.serving_idly", "other_user": "nobody.sleeping"}.get(
        state, "inside_process.sleeping"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", LEADER.format(root=root, target=target, settings=settings)],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert leader.stdout is not None
    with leader, leader.stdout as stdout:
        workers = [psutil.Process(int(pid)) for pid in stdout.readline().split()]
        assert len(workers) == 3
        if state in ("stopped", "other_user", "stopped_fork"):
            for worker in workers:
                worker.suspend()
        leader.send_signal(how)
        leader.wait(10)
    deadline = time.monotonic() + 1
    while (alive := [worker for worker in workers if not has_ended(worker)]) and time.monotonic() < deadline:
        time.sleep(0.005)
    for worker in alive:
        worker.kill()
    assert not alive


def has_ended(process: psutil.Process) -> bool:
    """Whether it runs no more. Where nobody reaps orphans (a container's first process) a zombie is what is left."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
