"""Workers that are busy, blocked, leaving, or out of descriptors; and a primary that is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from aiocluster import Cluster
from aiocluster.events import Address
from aiocluster.scheduling import UrlHash
from tests.connections.clients import Crowd, gate, pids_of
from tests.connections.descriptors import no_descriptor_left
from tests.connections.inside import serve
from tests.support.serving import Client, ask, serving

WINDOW = 16  # connections a worker is sent before it is ready with any


@pytest.mark.parametrize("scheduling", ["round_robin", "least_busy", "least_connections", "fair", "random"])
async def test_a_worker_that_blocks_its_loop_delays_at_most_its_window(tmp_path: Path, scheduling: str) -> None:
    cluster = Cluster(serve, workers=3, scheduling=scheduling)
    async with serving(cluster, 3) as address:
        blocked, *others = cluster.workers.values()
        with gate(tmp_path) as barrier:
            await blocked.send(["block", barrier.path])
            await barrier.reached()
            async with Crowd(address, size=WINDOW + 20) as crowd:
                await crowd.ended(1000)  # at least 20 of them are never held up
                assert crowd.by[blocked.pid] == 0
                assert cluster.stats().ports[0].waiting <= WINDOW + crowd.size
                barrier.open()
            assert set(crowd.ends) == {"answered"}
            assert crowd.by[blocked.pid] <= WINDOW + crowd.total - 1000
            assert all(crowd.by[worker.pid] > 100 for worker in others)


async def test_with_all_windows_full_clients_wait_in_the_backlog(tmp_path: Path) -> None:
    cluster = Cluster(serve, workers=1)
    async with serving(cluster, 1) as address:
        (worker,) = cluster.workers.values()
        with gate(tmp_path) as barrier:
            await worker.send(["block", barrier.path])
            await barrier.reached()
            clients = [await Client.connect(address) for _ in range(10 * WINDOW)]  # more than asyncio's backlog, too
            for client in clients:
                await client.send()
            (port,) = cluster.stats().ports
            assert (
                1 <= port.waiting == port.accepted <= WINDOW
            )  # a late worker gets no more, even with room in its window
            began = time.process_time()
            await asyncio.sleep(0.2)
            assert time.process_time() - began < 0.1  # that somebody waits does not keep the primary busy
            barrier.open()
            assert [await client.answer() for client in clients] == [worker.pid] * len(clients)
            for client in clients:
                await client.close()


async def test_a_leaving_worker_hands_back_what_it_has_not_taken(tmp_path: Path) -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address:
        leaving, other = cluster.workers.values()
        with gate(tmp_path) as barrier:
            await leaving.send(["block_and_leave", barrier.path])
            await barrier.reached()
            clients = [await Client.connect(address) for _ in range(20)]
            for client in clients:
                await client.send()
            sent = 0
            while not sent or other.connections + sent < 20:
                await asyncio.sleep(0.001)
                sent = leaving._session.backend.connections
            barrier.open()
            assert [await client.answer() for client in clients] == [other.pid] * 20
        await leaving.wait_gone()
        assert leaving._session.stats().returned == sent
        assert leaving._session.stats().redispatched == 0
        for client in clients:
            await client.close()


# ---- descriptors


async def test_a_worker_without_descriptors_gives_back_what_it_can_not_take(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(serve, workers=2, silent=True)
    async with serving(cluster, 2) as address:
        poor, rich = cluster.workers.values()
        await poor.request(["use_up_descriptors", 3])
        clients = [await Client.connect(address) for _ in range(60)]
        pids = Counter([await client.ask() for client in clients])
        assert pids[rich.pid] >= 57
        assert pids.total() == 60
        for client in clients:
            await client.close()
        await poor.request(["free_descriptors"])
        while poor.pid not in await pids_of(address, 2):
            pass


async def test_a_worker_that_leaves_while_it_is_without_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(serve, workers=2, silent=True)
    async with serving(cluster, 2) as address:
        rich, poor = sorted(cluster.workers.values(), key=lambda worker: worker._session.backend.slot)
        held = await Client.connect(address)
        if await held.ask() == rich.pid:
            await held.close()
            held = await Client.connect(address)
            assert await held.ask() == poor.pid
        await poor.request(["use_up_descriptors", 0])
        assert await pids_of(address, 4) == [rich.pid] * 4
        scaling = asyncio.ensure_future(cluster.scale(1))
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.3
        while loop.time() < until:  # longer than it is let alone
            assert await ask(address) == rich.pid
        assert not scaling.done()
        await poor.request(["free_descriptors"])
        await held.close()
        await scaling


async def test_all_workers_without_descriptors_do_not_spin() -> None:
    cluster = Cluster(serve, workers=1, silent=True)
    async with serving(cluster, 1) as address:
        (poor,) = cluster.workers.values()
        await poor.request(["use_up_descriptors", 1])
        served = await Client.connect(address)
        assert await served.ask() == poor.pid
        clients = [await Client.connect(address) for _ in range(5)]
        for client in clients:
            await client.send()
        while not poor._session.stats().returned:
            await asyncio.sleep(0.001)
        began = time.process_time()
        returned = poor._session.stats().returned
        await asyncio.sleep(0.5)
        assert time.process_time() - began < 0.25
        assert poor._session.stats().returned - returned <= 5 * 6  # all of them, ten times a second
        await poor.request(["free_descriptors"])
        assert [await client.answer() for client in clients] == [poor.pid] * 5
        for client in [served, *clients]:
            await client.close()


async def test_a_primary_without_descriptors_pauses_and_resumes(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(serve, workers=2)
    async with serving(cluster, 2) as address:
        socks = [socket.socket() for _ in range(10)]
        for sock in socks:
            sock.setblocking(False)
        with no_descriptor_left():
            for sock in socks:
                with contextlib.suppress(BlockingIOError):
                    sock.connect((address.host, address.port))
            while "can't accept" not in caplog.text:
                await asyncio.sleep(0.001)
            caplog.clear()
            began = time.process_time()
            await asyncio.sleep(0.5)
            assert time.process_time() - began < 0.2
            assert len([record for record in caplog.records if "can't accept" in record.getMessage()]) <= 6
        clients = [Client(*await asyncio.open_connection(sock=sock)) for sock in socks]
        assert sorted(Counter([await client.ask() for client in clients]).values()) == [5, 5]
        for client in clients:
            await client.close()


@pytest.mark.parametrize("first", [b"", b"GET /with/no/end"])
async def test_a_thousand_silent_clients_block_nobody(first: bytes) -> None:
    """Nor do they keep the primary busy, nor take it the last descriptor."""
    cluster = Cluster(serve, workers=2, scheduling="url_hash")
    async with serving(cluster, 2) as address:
        silent = []
        try:
            for _ in range(1000):
                silent.append(sock := socket.socket())
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
                if first:
                    sock.send(first)
            began = time.monotonic()
            busy = time.process_time()
            for number in range(20):
                assert await ask(address, f"/{number}") > 0
            assert time.monotonic() - began < 20 * UrlHash.patience  # what it took if each had to wait for a silent one
            while sum(worker.connections for worker in cluster.workers.values()) < 1000:
                await asyncio.sleep(0.01)
            assert time.process_time() - busy < 0.5 * max(1, time.monotonic() - began)
        finally:
            for sock in silent:
                sock.close()
        while any(worker.connections for worker in cluster.workers.values()):
            await asyncio.sleep(0.001)


async def test_silent_clients_do_not_take_the_last_descriptor() -> None:
    cluster = Cluster(serve, workers=2, scheduling="url_hash")
    async with serving(cluster, 2) as address:
        await _silent_crowd_without_room(address)
        while cluster.stats().ports[0].waiting:
            await asyncio.sleep(0.001)


async def _silent_crowd_without_room(address: Address) -> None:
    silent = [socket.socket() for _ in range(150)]
    talking = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 50, hard))
    try:
        for sock in [*silent, talking]:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect((address.host, address.port))
            await asyncio.sleep(0)
        began = time.monotonic()
        client = Client(*await asyncio.open_connection(sock=talking))
        assert await client.ask() > 0
        assert time.monotonic() - began < 3 * UrlHash.patience  # what 50 at a time would take
        await client.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for sock in silent:
            sock.close()
