"""Shared ports: who gets which connection, and what happens to those whose worker is busy, or dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiocluster import Cluster, Primary, current_worker
from aiocluster.events import Address, Listening
from tests.support.serving import EXAMPLES, Client, ask, in_worker, serving

from .inside_ports import serve, two_servers_one_port

WINDOW = 16  # connections a worker is sent before it is ready with any


# ---- who gets which


@pytest.mark.parametrize("server", ["asyncio", "uvicorn", "aiohttp"])
async def test_forty_connections_over_four_workers_are_ten_each(server: str) -> None:
    cluster = Cluster(EXAMPLES / f"{server}_app.py", workers=4, env={"PORT": "0"}, silent=True)
    async with serving(cluster, 4) as address:
        clients, first = [], []
        for _ in range(40):
            clients.append(await Client.connect(address))
            first.append(await clients[-1].ask())
        assert sorted(Counter(first).values()) == [10, 10, 10, 10]
        assert [await client.ask() for client in clients] == first  # a connection stays where it is
        for client in clients:
            await client.close()
        while any(worker.connections for worker in cluster.workers.values()):
            await asyncio.sleep(0.001)

        # So are forty at once, as far as workers get a processor: beside other tests a worker may have to wait for one
        # for longer than connections wait for it.
        clients = [await Client.connect(address) for _ in range(40)]
        try:
            shares = Counter([await client.ask() for client in clients])
        finally:
            for client in clients:
                await client.close()
        assert len(shares) == 4
        assert max(shares.values()) - min(shares.values()) <= 6


async def test_connections_are_counted() -> None:
    async with serving(Cluster(serve, workers=2), 2) as address:
        pass
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address:
        clients = [await Client.connect(address) for _ in range(6)]
        for client in clients:
            await client.ask()
        assert [worker.connections for worker in cluster.workers.values()] == [3, 3]
        for client in clients:
            await client.close()
        while any(worker.connections for worker in cluster.workers.values()):
            await asyncio.sleep(0.001)


async def test_shared_workers_accept_by_themselves() -> None:
    cluster = Cluster(serve, workers=2, scheduling="shared")
    async with serving(cluster, 2) as address:
        pids = {worker.pid for worker in cluster.workers.values()}
        clients = [await Client.connect(address) for _ in range(20)]
        assert {await client.ask() for client in clients} <= pids
        assert sum(worker.connections for worker in cluster.workers.values()) == 20
        for client in clients:
            await client.close()


async def test_a_stopped_worker_gets_no_more_than_its_window() -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address:
        stopped, running = cluster.workers.values()
        psutil.Process(stopped.pid).suspend()
        clients = []
        for _ in range(2 * WINDOW):
            clients.append(await Client.connect(address))
            await clients[-1].send()
        more = [await Client.connect(address) for _ in range(20)]
        assert [await client.ask() for client in more] == [running.pid] * 20
        psutil.Process(stopped.pid).resume()
        answers = Counter([await client.answer() for client in clients])
        assert 1 <= answers[stopped.pid] <= WINDOW
        assert answers.total() == answers[stopped.pid] + answers[running.pid] == 2 * WINDOW
        for client in clients + more:
            await client.close()


async def test_what_a_dead_worker_had_not_taken_goes_elsewhere() -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address:
        doomed, other = cluster.workers.values()
        psutil.Process(doomed.pid).suspend()
        clients = [await Client.connect(address) for _ in range(20)]
        for client in clients:
            await client.send()
        answers = [asyncio.ensure_future(client.answer()) for client in clients]
        while sum(answer.done() for answer in answers) < 10:  # the other one's share
            await asyncio.sleep(0.001)
        doomed.kill(signal.SIGKILL)
        pids = await asyncio.gather(*answers)
        assert doomed.pid not in pids
        assert pids.count(other.pid) >= 10
        for client in clients:
            await client.close()


async def test_with_nobody_to_serve_connections_wait() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1) as address:
        (worker,) = cluster.workers.values()
        worker.kill(signal.SIGKILL)
        await worker.wait_gone()
        assert await ask(address) != worker.pid  # its replacement


async def test_a_port_stays_open_while_its_only_worker_is_replaced() -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1) as address:
        for _ in range(5):
            (worker,) = cluster.workers.values()
            worker.kill(signal.SIGKILL)
            asked = [asyncio.ensure_future(ask(address)) for _ in range(4)]
            assert worker.pid not in await asyncio.gather(*asked)


async def test_accepting_again_after_descriptors_ran_out(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(serve, workers=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(cluster, 1) as address:
        sock = socket.socket()  # the client's, while there are descriptors
        sock.setblocking(False)
        used_up: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (sock.fileno() + 50, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    used_up.append(os.dup(0))
            with contextlib.suppress(BlockingIOError):
                sock.connect((address.host, address.port))
            while "can't accept" not in caplog.text:
                await asyncio.sleep(0.001)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in used_up:
                os.close(fd)
        client = Client(*await asyncio.open_connection(sock=sock))
        assert await client.ask() > 0
        await client.close()


async def test_one_worker_closes_its_server_and_opens_it_again() -> None:
    cluster = Cluster(two_servers_one_port, workers=2)
    async with serving(cluster, 2) as address, cluster.events("message") as heard:
        first, second = cluster.workers.values()
        await first.send("close")
        await anext(heard)
        assert [await ask(address) for _ in range(4)] == [second.pid] * 4
        await first.send("open")
        await anext(heard)
        answers = [await ask(address) for _ in range(4)]
        assert sorted(answers) == sorted([first.pid, second.pid] * 2)


@in_worker
async def test_a_connection_that_resets_at_once_harms_nobody() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(await reader.readline())
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        for _ in range(50):
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.connect(address)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()


async def test_both_the_listening_event_and_the_port_of_each_worker(tmp_path: Path) -> None:
    async with Primary(f"{__name__}:three_ports", args=[str(tmp_path / "socket")]) as primary:
        heard: list[Listening] = []
        primary.on("listening", heard.append)
        worker = await primary.fork()
        await primary.wait_for("message")
        assert [event.address.family for event in heard] == ["tcp4", "tcp6", "unix", "udp4"]
        assert [event.worker for event in heard] == [worker] * 4
        assert str(heard[0].address) == f"127.0.0.1:{heard[0].address.port}"
        assert str(heard[1].address) == f"[::1]:{heard[1].address.port}"
        assert heard[2].address == Address("unix", path=str(tmp_path / "socket"))


async def three_ports(path: str) -> None:
    def ignore(*streams: Any) -> None: ...

    servers = [
        await asyncio.start_server(ignore, "127.0.0.1", 0),
        await asyncio.start_server(ignore, "::1", 0),
        await asyncio.start_unix_server(ignore, path),
    ]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    await current_worker().send("listening")
    try:
        await asyncio.gather(*(server.serve_forever() for server in servers))
    finally:
        transport.close()
