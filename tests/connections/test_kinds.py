"""Everything that listens besides plain TCP: inherited sockets, Unix sockets, anyio's listeners, Hypercorn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio.abc import SocketAttribute

from aiocluster import Cluster, Primary, current_worker, listen, listen_fd
from aiocluster.events import Address
from tests.connections.clients import pids_of
from tests.connections.inside import HOST
from tests.support.serving import Client, ask, in_worker, serving

INSIDE = "tests.connections.inside"


# ---- sockets that somebody else has opened


@pytest.mark.parametrize("scheduling", ["round_robin", "shared", "reuse_port"])
async def test_workers_listen_on_a_descriptor_of_the_primary(scheduling: str) -> None:
    with socket.create_server((HOST, 0)) as sock:
        cluster = Cluster(f"{INSIDE}:serve_descriptor", workers=2, args=[str(sock.fileno())], scheduling=scheduling)
        async with serving(cluster, 2) as address:
            assert address.port == sock.getsockname()[1]
            pids = Counter(await pids_of(address, 10))
            assert scheduling != "round_robin" or sorted(pids.values()) == [5, 5]
        sock.getsockname()  # still open


async def test_an_address_that_the_primary_has_inherited() -> None:
    with socket.create_server((HOST, 0)) as sock:
        port = sock.getsockname()[1]
        async with Primary(f"{INSIDE}:serve_address", args=[HOST, str(port)]) as primary:
            assert await primary.listen_fd(sock.fileno()) == Address("tcp4", HOST, port)
            async with primary.events("listening") as heard:
                for _ in range(2):
                    await primary.fork()
                    await anext(heard)
            assert sorted(Counter(await pids_of(Address("tcp4", HOST, port), 4)).values()) == [2, 2]
            await primary.disconnect()


async def test_an_inherited_unix_socket_keeps_its_file(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        async with Primary("asyncio:run") as primary:
            assert await primary.listen_fd(sock.fileno()) == Address("unix", path=path)
        assert os.path.exists(path)  # whoever opened it goes on listening


@in_worker
async def test_a_descriptor_that_is_no_listening_socket() -> None:
    for fd in (0, 999):
        with pytest.raises(OSError):
            await listen_fd(fd)


async def test_systemd(tmp_path: Path) -> None:
    """What sd_listen_fds(3) describes: descriptors from 3 on, their number and the pid in the environment."""
    path = str(tmp_path / "socket")
    with socket.create_server((HOST, 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        # The pid is known only to the process itself, as systemd knows it: by a shell that becomes the program.
        fds = f"3<&{tcp.fileno()} 4<&{unix.fileno()}"
        command = f"LISTEN_PID=$$ LISTEN_FDS=2 exec {sys.executable} -m tests.connections.by_systemd {fds}"
        process = await asyncio.create_subprocess_exec(
            "/bin/bash",
            "-c",
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[tcp.fileno(), unix.fileno()],
            cwd=Path(__file__).parents[2],
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"2\n"
        for address in (Address("tcp4", *tcp.getsockname()), Address("unix", path=path)):
            assert sorted(Counter(await pids_of(address, 4)).values()) == [2, 2]
        process.stdin.close()
        assert await process.wait() == 0
        process._transport.close()  # type: ignore[attr-defined]
        assert os.path.exists(path)


async def test_systemds_variables_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiocluster.integrations.systemd import inherited_descriptors

    for pid, count in (("1", "2"), (str(os.getpid()), "two"), ("", "")):
        monkeypatch.setenv("LISTEN_PID", pid)
        monkeypatch.setenv("LISTEN_FDS", count)
        monkeypatch.setenv("LISTEN_FDNAMES", "web:admin")
        assert inherited_descriptors() == []
        assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & set(os.environ)


# ---- Unix sockets


async def test_the_mode_of_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    cluster = Cluster(f"{INSIDE}:serve_path", workers=2, args=[str(path), "600"])
    async with serving(cluster, 2) as address:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert sorted(Counter(await pids_of(address, 4)).values()) == [2, 2]
    assert not path.exists()


async def test_the_mode_of_a_unix_socket_that_the_primary_opens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with Primary("asyncio:run") as primary:
        await primary.listen(path=str(path), mode=0o640)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert not path.exists()


# ---- anyio


async def echo(stream: anyio.abc.SocketStream) -> None:
    async with stream:
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                await stream.send(await stream.receive())


async def said(stream: Any, what: bytes = b"hello") -> bytes:
    async with stream:
        await stream.send(what)
        return bytes(await stream.receive())


@in_worker
async def test_an_anyio_listener_with_a_task_group_of_its_own() -> None:
    listener = await listen(HOST, 0)
    port = listener.extra(SocketAttribute.local_port)
    assert listener.extra(SocketAttribute.local_address) == (HOST, port)
    assert listener.extra(SocketAttribute.family) == socket.AF_INET
    assert listener.extra(SocketAttribute.raw_socket).getsockname() == (HOST, port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        for _ in range(3):
            assert await said(await anyio.connect_tcp(HOST, port)) == b"hello"
        tasks.cancel_scope.cancel()
    await listener.aclose()
    await listener.aclose()


@in_worker
async def test_an_anyio_listener_with_somebody_elses_task_group() -> None:
    async with await listen(HOST, 0) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo, tasks)
        streams = [await anyio.connect_tcp(HOST, listener.extra(SocketAttribute.local_port)) for _ in range(3)]
        for stream in streams:
            assert await said(stream) == b"hello"
        tasks.cancel_scope.cancel()


@in_worker
async def test_an_anyio_listener_on_a_unix_socket(tmp_path: str) -> None:
    path = os.path.join(tmp_path, "socket")
    async with await listen(path=path) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        stream = await anyio.connect_unix(path)
        assert await said(stream) == b"hello"
        tasks.cancel_scope.cancel()
    with pytest.raises(ValueError, match="path can't be combined"):
        await listen(HOST, path=path)


@in_worker
async def test_closing_an_anyio_listener() -> None:
    listener = await listen(HOST, 0)
    port = listener.extra(SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        served = await anyio.connect_tcp(HOST, port)
        theirs = await listener.accept()
        closed = anyio.Event()

        async def accept() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await listener.accept()
            closed.set()

        tasks.start_soon(accept)
        await anyio.wait_all_tasks_blocked()
        await listener.aclose()
        await closed.wait()
        with pytest.raises(anyio.ClosedResourceError):
            await listener.accept()
        await theirs.send(b"still here")  # its streams stay
        assert await served.receive() == b"still here"
        await theirs.aclose()
        await served.aclose()


@pytest.mark.parametrize("scheduling", ["round_robin", "shared"])
async def test_what_an_anyio_listener_has_not_accepted_is_not_its_own(scheduling: str) -> None:
    cluster = Cluster(f"{INSIDE}:serve_unless_first", workers=2, scheduling=scheduling)
    async with serving(cluster, 2) as address:
        first, second = cluster.workers.values()
        clients = [await Client.connect(address) for _ in range(20)]
        for client in clients:
            await client.send()
        turn = asyncio.create_task(clients[0].answer()), asyncio.create_task(clients[1].answer())
        await asyncio.wait(turn, return_when=asyncio.FIRST_COMPLETED)
        assert first.connections == 0
        await first.send("close it")
        assert {await answer for answer in turn} == {second.pid}
        assert {await client.answer() for client in clients[2:]} == {second.pid}
        for client in clients:
            await client.close()


@in_worker
async def test_clients_that_go_at_once_do_not_end_an_anyio_listener() -> None:
    async with await listen(HOST, 0) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, echo)
        port = listener.extra(SocketAttribute.local_port)
        for _ in range(50):
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.connect((HOST, port))
        assert await said(await anyio.connect_tcp(HOST, port)) == b"hello"
        tasks.cancel_scope.cancel()


# ---- servers that bind by themselves


async def hypercorn_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b"%d" % os.getpid()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def serve_by_hypercorn() -> None:
    """Hypercorn binds by itself, and would find the port in use; it takes a duplicate of the shared socket instead."""
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, HOST, 0, start_serving=False)
    config = Config()
    config.bind = [f"fd://{os.dup(server.sockets[0].fileno())}"]
    config.accesslog = None
    leave = asyncio.Event()
    current_worker().on("shutdown", lambda event: leave.set())
    await current_worker().send(server.sockets[0].getsockname()[1])
    await hypercorn_serve(hypercorn_app, config, shutdown_trigger=leave.wait)
    server.close()


@pytest.mark.parametrize("scheduling", ["round_robin", "shared"])
async def test_hypercorn_by_a_duplicate_of_the_shared_socket(scheduling: str) -> None:
    pytest.importorskip("hypercorn")
    cluster = Cluster(f"{__name__}:serve_by_hypercorn", workers=2, scheduling=scheduling, silent=True)
    async with cluster.events("message") as heard, cluster:
        ports = {(await anext(heard)).message for _ in range(2)}
        assert len(ports) == 1
        address = Address("tcp4", HOST, ports.pop())
        pids = {worker.pid for worker in cluster.workers.values()}
        first = psutil.Process(await ask(address))
        first.suspend()
        assert {first.pid, await ask(address)} == pids
        first.resume()
