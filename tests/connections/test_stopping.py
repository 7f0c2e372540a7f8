"""A stop under load: each client is served or refused. None is let in and then reset."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster, Primary
from aiocluster._primary.ports.shut import close_everywhere, refuse_new
from tests.connections.clients import Crowd, gate
from tests.connections.inside import serve
from tests.support.events import several
from tests.support.serving import EXAMPLES, Client, ask, serving

POLICIES = ["round_robin", "least_connections", "url_hash", "shared", "reuse_port"]
SERVERS: dict[str, Any] = {
    "asyncio": serve,
    "anyio": "tests.connections.inside:serve_stream",
    "uvicorn": EXAMPLES / "uvicorn_app.py",
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("scheduling", POLICIES)
async def test_every_client_is_served_or_refused(server: str, scheduling: str) -> None:
    cluster = Cluster(SERVERS[server], workers=2, scheduling=scheduling, env={"PORT": "0"}, silent=True)
    async with serving(cluster, 2) as address, Crowd(address) as crowd:
        await crowd.ended(200)
        await cluster.stop()
        await crowd.ended(1)
    assert set(crowd.ends) == {"answered", "refused"}


@pytest.mark.parametrize("scheduling", ["round_robin", "shared"])
async def test_every_client_of_a_unix_socket_is_served_or_refused(scheduling: str, tmp_path: Path) -> None:
    target, path = "tests.connections.inside:serve_path", str(tmp_path / "socket")
    cluster = Cluster(target, workers=2, scheduling=scheduling, args=[path])
    async with serving(cluster, 2) as address, Crowd(address) as crowd:
        await crowd.ended(200)
        await cluster.stop()
        await crowd.ended(1)
    assert set(crowd.ends) == {"answered", "refused"}


async def test_the_port_is_closed_while_a_request_is_still_in_flight() -> None:
    cluster = Cluster("tests.connections.inside:serve_when_told", workers=1)
    async with serving(cluster, 1) as address, cluster.events("message") as heard:
        (worker,) = cluster.workers.values()
        client = await Client.connect(address)
        await client.send()
        await anext(heard)
        stopping = asyncio.ensure_future(cluster.stop())
        await anext(heard)  # told to leave
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(address)
        await worker.send("answer")
        assert await client.answer() == worker.pid
        await client.close()
        await stopping


async def test_uvicorn_serves_a_client_that_sends_its_request_late() -> None:
    cluster = Cluster(EXAMPLES / "uvicorn_app.py", workers=1, env={"PORT": "0"}, silent=True)
    async with serving(cluster, 1) as address:
        (worker,) = cluster.workers.values()
        assert await ask(address) == worker.pid
        client = await Client.connect(address)
        stopping = asyncio.ensure_future(cluster.stop())
        while cluster.stats().ports:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.3)  # longer than uvicorn is left alone otherwise
        await client.send()
        assert await client.answer() == worker.pid
        await client.close()
        await stopping


async def test_what_a_blocked_worker_was_sent_is_still_served(tmp_path: Path) -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1) as address:
        (worker,) = cluster.workers.values()
        with gate(tmp_path) as barrier:
            await worker.send(["block", barrier.path])
            await barrier.reached()
            clients = [await Client.connect(address) for _ in range(90)]  # more than its window
            for client in clients:
                await client.send()
            stopping = asyncio.ensure_future(cluster.stop())
            while cluster.stats().ports:
                await asyncio.sleep(0.001)
        assert {await client.answer() for client in clients} == {worker.pid}
        for client in clients:
            await client.close()
        await stopping


async def test_the_last_worker_that_is_told_to_leave_serves_what_was_let_in(tmp_path: Path) -> None:
    async with Primary(serve) as primary, primary.events("listening") as heard:
        worker = await primary.fork()
        address = (await anext(heard)).address
        with gate(tmp_path) as barrier:
            await worker.send(["block", barrier.path])
            await barrier.reached()
            clients = [await Client.connect(address) for _ in range(20)]
            for client in clients:
                await client.send()
            leaving = asyncio.ensure_future(worker.disconnect())
            await asyncio.sleep(0)
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(address)
        assert {await client.answer() for client in clients} == {worker.pid}
        for client in clients:
            await client.close()
        await leaving


async def test_all_workers_of_a_primary_are_told_to_leave_under_load() -> None:
    async with Primary(serve) as primary, primary.events("listening") as heard:
        for _ in range(2):
            await primary.fork()
        await anext(heard)
        address = (await anext(heard)).address
        async with Crowd(address) as crowd:
            await crowd.ended(200)
            await primary.disconnect()
            await crowd.ended(1)
        assert set(crowd.ends) == {"answered", "refused"}


async def test_a_socket_that_others_have_too_is_left_to_them() -> None:
    """As a service manager's: who connects during the stop is served by the next start."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        target, args = "tests.connections.inside:serve_descriptor", [str(sock.fileno())]
        async with serving(Cluster(target, workers=1, args=args), 1) as address:
            assert await ask(address) > 0
        client = await Client.connect(address)
        await client.send()
        cluster = Cluster(target, workers=1, args=args)
        async with serving(cluster, 1):
            (worker,) = cluster.workers.values()
            assert await client.answer() == worker.pid
            await client.close()


# ---- drain_delay


async def test_during_the_drain_delay_all_is_served_and_the_workers_know_nothing() -> None:
    cluster = Cluster("tests.connections.inside:serve_and_tell_of_shutdown", workers=1, drain_delay=4.0)
    async with serving(cluster, 1) as address, several(cluster, "message", "exit", "listening") as heard:
        (worker,) = cluster.workers.values()
        began = asyncio.get_running_loop().time()
        stopping = asyncio.ensure_future(cluster.stop())
        await asyncio.sleep(0.1)
        assert await ask(address) == worker.pid
        worker.kill(signal.SIGKILL)
        assert (await anext(heard)).name == "exit"
        replacement = (await anext(heard)).worker
        assert await ask(address) == replacement.pid
        told = await anext(heard)
        assert told.message == 30.0  # all of graceful_timeout
        assert asyncio.get_running_loop().time() - began >= 4.0
        await stopping


async def test_a_second_signal_skips_the_drain_delay() -> None:
    cluster = Cluster("tests.connections.inside:serve_and_tell_of_shutdown", workers=1, drain_delay=60.0)
    async with serving(cluster, 1) as address, cluster.events("exit") as heard:
        running = asyncio.ensure_future(cluster.serve_forever())
        await asyncio.sleep(0.1)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        assert await ask(address) > 0
        signal.raise_signal(signal.SIGTERM)
        assert (await anext(heard)).reason == "told"
        await running


async def test_a_stop_at_once_has_no_drain_delay() -> None:
    cluster = Cluster(serve, workers=1, drain_delay=60.0)
    async with serving(cluster, 1):
        graceful = asyncio.ensure_future(cluster.stop())
        await asyncio.sleep(0.1)
        await cluster.stop(graceful=False)
        await graceful


async def test_a_reload_has_no_drain_delay() -> None:
    cluster = Cluster(serve, workers=1, drain_delay=60.0)
    async with serving(cluster, 1):
        began = asyncio.get_running_loop().time()
        await cluster.reload()
        assert asyncio.get_running_loop().time() - began < 60.0
        await cluster.stop(graceful=False)


# ---- one socket


@pytest.mark.skipif("sys.platform != 'linux'")
def test_a_tcp_socket_that_refuses_new_clients_keeps_those_it_has_let_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, sock.dup() as duplicate:
        duplicate.settimeout(1)
        address = sock.getsockname()
        with socket.create_connection(address) as client, socket.socket() as late:
            refuse_new(sock)
            late.settimeout(0.05)
            with pytest.raises(TimeoutError):  # its first packet was dropped
                late.connect(address)
            accepted, _ = sock.accept()
            with accepted:
                client.sendall(b"hello")
                assert accepted.recv(10) == b"hello"
                close_everywhere(sock)
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(address)
                accepted.sendall(b"bye")
                assert client.recv(10) == b"bye"
        with pytest.raises(OSError):
            duplicate.accept()


@pytest.mark.skipif("sys.platform != 'linux'")
def test_a_unix_socket_that_refuses_new_clients_keeps_those_it_has_let_in(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as client:
        sock.bind(path)
        sock.listen()
        client.connect(path)
        client.sendall(b"hello")
        refuse_new(sock)
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
            late.connect(path)
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.recv(10) == b"hello"
