"""Connections go to workers as these become ready: handlers that block, pull, leaving, crashes, and what is sticky."""

from __future__ import annotations

import asyncio
import shlex
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiocluster import Cluster
from aiocluster._primary.ports.backend import Backend
from aiocluster._primary.ports.pauses import QUIET
from aiocluster._primary.ports.port import Port
from aiocluster._primary.ports.window import BUDGET, MOST
from aiocluster.events import Address
from tests.connections import inside_ready as inside
from tests.support.serving import REQUEST, Client, all_ready, ask, serving

SERVERS = [
    inside.serve_protocol,
    inside.serve_streams,
    inside.serve_anyio,
    inside.serve_uvicorn,
    inside.serve_aiohttp,
]
LOOPS = ["asyncio", "uvloop"]


def port_of(cluster: Cluster) -> Port:
    (port,) = cluster.primary._shared.ports.by_number.values()
    return port


async def ask_at_once(address: Address, target: str) -> bytes:
    """Connects and sends in one go: the request is there before the connection is accepted."""
    with socket.create_connection((address.host, address.port)) as sock:
        sock.sendall(REQUEST.replace(b" / ", b" %b " % target.encode()))
        sock.setblocking(False)
        return await asyncio.get_running_loop().sock_recv(sock, 1000)


async def greeting(address: Address, certificate: Path) -> bytes:
    """What a server that speaks first says, over TLS."""
    trusting = ssl.create_default_context(cafile=certificate)
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=trusting, server_hostname="localhost"
    )
    try:
        return await reader.read()
    finally:
        writer.close()


async def answers(address: Address, targets: list[str], at_a_time: int = 16) -> Counter[int | str]:
    """Who answers these, each on a connection of its own; and what was ``lost``."""
    seen: Counter[int | str] = Counter()
    left = iter(targets)

    async def ask_on() -> None:
        for target in left:
            try:
                seen[await ask(address, target)] += 1
            except (ConnectionError, asyncio.IncompleteReadError):
                seen["lost"] += 1

    await asyncio.gather(*(ask_on() for _ in range(at_a_time)))
    return seen


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("serve", SERVERS)
async def test_a_worker_is_ready_when_a_first_request_has_been_served(serve: Callable[..., Any], loop: Any) -> None:
    cluster = Cluster(serve, workers=1, loop=loop)
    async with serving(cluster, 1) as address:
        for _ in range(3):
            await ask_at_once(address, "/10")
        (window,) = await all_ready(cluster)
        assert window.seconds > 0.008
        assert window.size == 1
        await asyncio.sleep(2 * QUIET)
        for _ in range(20):  # so that one that a busy machine has delayed changes little
            await ask_at_once(address, "/0")
        (window,) = await all_ready(cluster)
        assert window.seconds < 0.008
        assert window.size > 1 or window.seconds > BUDGET / 2  # on a slow machine


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*shlex.split(command), "-keyout", path, "-out", path], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_handshake_and_the_request_after_it_count(certificate: Path, loop: Any) -> None:
    cluster = Cluster(inside.serve_tls, workers=1, args=(str(certificate), "10"), loop=loop)
    async with serving(cluster, 1) as address:
        for _ in range(3):
            assert await greeting(address, certificate)
        (window,) = await all_ready(cluster)
        while window.size > 1:  # a handshake that took long is told of before the request after it
            await asyncio.sleep(0.001)
        assert window.seconds > 0.003


async def test_clients_that_never_begin_their_handshake_keep_nobody_waiting(certificate: Path) -> None:
    cluster = Cluster(inside.serve_tls, workers=1, args=(str(certificate), "0"))
    async with serving(cluster, 1) as address:
        silent = [await Client.connect(address) for _ in range(3 * MOST)]
        assert await greeting(address, certificate)
        for client in silent:
            await client.close()


async def test_a_client_that_sends_a_little_later_counts_as_well() -> None:
    cluster = Cluster(inside.serve_protocol, workers=1)
    async with serving(cluster, 1) as address:
        (window,) = await all_ready(cluster)
        for _ in range(100):  # one that comes after the patience for it does not count
            client = await Client.connect(address)
            await client.ask("/20")
            await client.close()
            if window.size == 1:
                break
        assert window.size == 1


async def test_a_loop_that_stops_with_connections_that_it_was_not_ready_with_gets_more() -> None:
    cluster = Cluster(inside.serve_on_and_on, workers=1)
    async with serving(cluster, 1) as address:
        clients = [await Client.connect(address) for _ in range(5 * MOST)]
        for client in clients:
            await client.ask("/0")
            await client.close()
        assert [window.unready for window in await all_ready(cluster)] == [0]


async def test_a_worker_that_was_busy_takes_the_next_one_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled = 0
    original = Port.pulled

    def count(self: Port, backend: Backend, connections: int) -> None:
        nonlocal pulled
        pulled += connections
        original(self, backend, connections)

    monkeypatch.setattr(Port, "pulled", count)
    cluster = Cluster(inside.serve_streams, workers=2)
    async with serving(cluster, 2) as address:
        pids = {worker.pid for worker in cluster.workers.values()}
        assert set(await answers(address, ["/5"] * 200)) == pids
        assert pulled > 20
        windows = await all_ready(cluster)
        assert [window.unready for window in windows] == [0, 0]
        assert port_of(cluster).accepted == sum(one.accepted for one in cluster.stats().workers) == 200
        while any(worker.connections for worker in cluster.workers.values()):
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("scheduling", ["random", "weighted_round_robin", "ip_hash"])
async def test_nobody_goes_past_a_policy_that_promises_more(scheduling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Port, "pulled", lambda self, backend, connections: pytest.fail("it was pulled"))
    cluster = Cluster(inside.serve_streams, workers=2, scheduling=scheduling)
    async with serving(cluster, 2) as address:
        assert (await answers(address, ["/3"] * 100)).total() == 100


async def test_nothing_is_lost_while_workers_that_pull_are_replaced() -> None:
    cluster = Cluster(inside.serve_streams, workers=2)
    async with serving(cluster, 2) as address:
        crowd = asyncio.ensure_future(answers(address, ["/3"] * 500))
        old = {worker.pid for worker in cluster.workers.values()}
        await cluster.reload()
        seen = await crowd
        assert seen.total() == 500
        assert not seen["lost"]
        assert old.isdisjoint(worker.pid for worker in cluster.workers.values())


async def test_pulled_connections_count_for_the_limit() -> None:
    cluster = Cluster(inside.serve_streams, workers=2, max_connections=60)
    async with serving(cluster, 2) as address:
        first = {worker.pid for worker in cluster.workers.values()}
        seen: Counter[int | str] = Counter()
        while first & {worker.pid for worker in cluster.workers.values()}:
            seen += await answers(address, ["/3"] * 40)
        assert not seen["lost"]


async def test_a_crash_in_a_first_request_costs_that_connection_and_at_most_one_more() -> None:
    cluster = Cluster(inside.serve_streams, workers=2)
    async with serving(cluster, 2) as address:
        await answers(address, ["/5"] * 40)
        seen = await answers(address, [*["/5"] * 20, "/die", *["/5"] * 60])
        assert seen.total() == 81
        assert 1 <= seen["lost"] <= 2  # after a pause, windows are 2


async def test_what_is_sticky_waits_for_its_worker() -> None:
    cluster = Cluster(inside.serve_streams, workers=2, scheduling="ip_hash")
    async with serving(cluster, 2) as address:
        (pid,) = await answers(address, ["/100", *["/10"] * 30], at_a_time=31)
        assert pid != "lost"


async def test_nobody_but_who_is_in_its_window_waits_behind_a_busy_worker() -> None:
    cluster = Cluster(inside.serve_streams, workers=2, graceful_timeout=0.1)
    async with serving(cluster, 2) as address:
        await answers(address, ["/5"] * 20)
        while any(worker.connections for worker in cluster.workers.values()):
            await asyncio.sleep(0.001)
        busy = asyncio.ensure_future(ask_at_once(address, "/50000"))  # longer than the test takes
        while not (at_work := [worker.pid for worker in cluster.workers.values() if worker.connections]):
            await asyncio.sleep(0.001)
        seen: list[int] = []
        left = iter(range(20))

        async def ask_on() -> None:
            for _ in left:
                seen.append(await ask(address, "/5"))

        asking = [asyncio.ensure_future(ask_on()) for _ in range(3)]
        while len(seen) < 18:  # after a pause, windows are 2
            await asyncio.sleep(0.001)
        assert not busy.done()
        assert at_work[0] not in seen
        for task in (busy, *asking):
            task.cancel()
        await asyncio.gather(busy, *asking, return_exceptions=True)
