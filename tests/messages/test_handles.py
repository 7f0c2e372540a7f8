"""Handles: which kinds, in which directions, whose they are afterwards, and what happens where there is no room."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiocluster import HandleError
from aiocluster.events import Message

from . import inside
from .party import is_stopped, party

ROOT = Path(__file__).parents[2]


async def said_by(sock: socket.socket) -> str:
    """What the other end says before it closes."""
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    said = b""
    while more := await loop.sock_recv(sock, 100):
        said += more
    return said.decode()


async def said_at(address: Any, family: int = socket.AF_INET) -> str:
    """What somebody says who accepts there."""
    with socket.socket(family) as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        return await said_by(sock)


async def tcp_connection() -> tuple[socket.socket, socket.socket]:
    """Both ends of one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        return accepted, client


async def test_the_primary_sends_a_connected_tcp_socket() -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.serve_handles, [])
        ours, client = await tcp_connection()
        with client:
            await a.send("take it", [ours])
            assert ours.fileno() == -1
            assert await said_by(client) == f"{a.pid} take it"


async def test_the_primary_sends_a_connected_unix_socket() -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.serve_handles, [])
        ours, client = socket.socketpair()
        with client:
            await all.primary.send(a.pid, "take it", [ours])
            assert ours.fileno() == -1
            assert await said_by(client) == f"{a.pid} take it"


async def test_keep_open_keeps_a_connection() -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.serve_handles, [])
        ours, client = socket.socketpair()
        with ours, client:
            await a.send("share it", [ours], keep_open=True)
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 100) == f"{a.pid} share it".encode()
            ours.sendall(b"still here")
            assert client.recv(100) == b"still here"


async def test_a_listening_tcp_socket_goes_to_several_and_stays() -> None:
    async with party(2) as all:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            for worker in all.workers:
                await worker._session.run(inside.serve_handles, [])
                await worker.send("listen", [listening])
                assert await said_at(listening.getsockname()) == f"{worker.pid} listen"
            assert listening.fileno() >= 0
            client = socket.create_connection(listening.getsockname())  # nobody else accepts any more
            accepted, _ = listening.accept()
            client.close()
            accepted.close()


async def test_a_listening_unix_socket(tmp_path: Path) -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.serve_handles, [])
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "socket"))
            listening.listen()
            await a.send("listen", [listening])
            assert listening.fileno() >= 0
            assert await said_at(str(tmp_path / "socket"), socket.AF_UNIX) == f"{a.pid} listen"


async def test_a_udp_socket() -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.serve_handles, [])
        with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as client:
            ours.bind(("127.0.0.1", 0))
            await a.send("answer", [ours])
            assert ours.fileno() >= 0
            client.setblocking(False)
            client.sendto(b"hello", ours.getsockname())
            assert await asyncio.get_running_loop().sock_recv(client, 100) == f"{a.pid} answer hello".encode()


async def test_a_server_goes_as_a_handle() -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.serve_handles, [])
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, start_serving=False)
        async with server:
            await server.start_serving()
            address = server.sockets[0].getsockname()
            await a.send("listen", [server])
        assert await said_at(address) == f"{a.pid} listen"


async def test_several_on_one_message_keep_their_order() -> None:
    async with party(1) as all:
        (a,) = all.workers
        pairs = [socket.socketpair() for _ in range(200)]
        back: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        all.primary.on("message", back.set_result)
        await a._session.run(inside.send_handles_back, [])
        await a.send({"all": "of them"}, [ours for ours, _ in pairs])
        event = await back
        assert (event.message, event.sender, event.worker) == ({"all": "of them"}, a.pid, a)
        assert len(event.handles) == len(pairs)
        for n, (sock, (_, client)) in enumerate(zip(event.handles, pairs, strict=True)):
            with sock, client:
                assert (sock.gettimeout(), sock.get_inheritable()) == (0, False)
                sock.send(b"%d" % n)
                assert client.recv(100) == b"%d" % n


async def test_a_worker_sends_to_the_primary() -> None:
    async with party(1) as all:
        (a,) = all.workers
        port = await a._session.run(inside.listen_and_send, [os.getpid()])
        (event,) = await all.hears("message", 1)
        (listening,) = event.handles
        with listening, socket.create_connection(("127.0.0.1", port)):
            accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
            accepted.close()


async def test_a_worker_sends_to_another() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.serve_handles, [])
        messages = ["one", {"n": 2}, "x" * 100_000]
        said = await a._session.run(inside.send_pair, [b.pid, *messages])
        assert said == [f"{b.pid} {message}"[:90] for message in messages]
        port = await a._session.run(inside.listen_and_send, [b.pid])
        assert await said_at(("127.0.0.1", port)) == f"{b.pid} listening"


async def test_nothing_that_was_sent_stays_open() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.serve_handles, [])
        await a._session.run(inside.send_pair, [b.pid, "warm"])
        before = (
            psutil.Process().num_fds(),
            *[await worker._session.run(inside.open_descriptors, []) for worker in (a, b)],
        )
        await a._session.run(inside.send_pair, [b.pid, *range(300)])
        after = (
            psutil.Process().num_fds(),
            *[await worker._session.run(inside.open_descriptors, []) for worker in (a, b)],
        )
        assert after == before


async def test_a_receiver_out_of_descriptors_is_told_and_so_is_a_worker_that_sent() -> None:
    async with party(2) as all:
        a, b = all.workers
        await a._session.run(inside.hear, ["error"])
        await b._session.run(inside.serve_handles, [])
        await b._session.run(inside.lower_limit, [0])
        await a._session.run(inside.send_pairs, [b.pid, 3])
        for error in await b._session.run(inside.heard_errors, [3]):
            assert error.startswith("HandleError: 1 descriptors from the worker with pid ")
            assert "RLIMIT_NOFILE" in error
        for error in await a._session.run(inside.heard_errors, [3]):
            assert error.startswith(f"HandleError: 1 descriptors did not reach the worker with pid {b.pid}")
        assert await b._session.run(inside.heard_messages, [3]) == [[a.pid, n, 0] for n in range(3)]
        await b._session.run(inside.lower_limit, [-1])
        said = await a._session.run(inside.send_pair, [b.pid, "the next", "and another"])
        assert said == [f"{b.pid} the next", f"{b.pid} and another"]
        assert len(await b._session.run(inside.heard_errors, [3])) == 3
        assert all.heard("error") == []


async def test_a_receiver_out_of_descriptors_is_told_and_so_is_the_primary(caplog: pytest.LogCaptureFixture) -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.serve_handles, [])
        await a._session.run(inside.lower_limit, [1])
        one, other = socket.socketpair()
        two, another = socket.socketpair()
        with other, another:
            await a.send("too many", [one, two])
            (event,) = await all.hears("error", 1)
            assert event.worker is a
            assert isinstance(event.error, HandleError)
            assert await a._session.run(inside.heard_messages, [1]) == [[os.getpid(), "too many", 0]]
            assert await said_by(other) == await said_by(another) == ""  # closed on both sides
        await a._session.run(inside.lower_limit, [-1])
        one, other = socket.socketpair()
        with other:
            await a.send("the next", [one])
            assert await said_by(other) == f"{a.pid} the next"
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["aiocluster.primary"]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_too_many_descriptors_in_flight_are_told_to_both(loop: str) -> None:
    """In a process of its own, which lowers its limits."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.messages.in_flight", loop],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (0, "as it should\n"), done.stderr


async def test_a_handle_for_a_worker_that_dies_does_not_stay_open() -> None:
    async with party(2) as all:
        a, b = all.workers
        b.kill(signal.SIGSTOP)
        await is_stopped(b)
        pairs = [socket.socketpair() for _ in range(20)]
        for ours, _ in pairs:
            await b.send("take it", [ours])
        await a._session.run(inside.hear, ["undelivered"])
        await a._session.run(inside.send_pairs, [b.pid, 10])
        held = await a._session.run(inside.open_descriptors, [])
        b.kill(signal.SIGKILL)
        returned = await all.hears("undelivered", 20)
        assert [event.message for event in returned] == ["take it"] * 20
        for _, client in pairs:
            with client:
                assert await said_by(client) == ""
        assert [message for _, message in await a._session.run(inside.heard_undelivered, [10])] == list(range(10))
        assert await a._session.run(inside.open_descriptors, []) <= held
