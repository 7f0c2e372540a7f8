"""How long a port stays open: as long as somebody wants it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from aiocluster import Cluster, Primary, RestartPolicy
from aiocluster.events import Address
from aiocluster.settings import Loop
from tests.connections.clients import Crowd
from tests.connections.inside import serve
from tests.support.events import several
from tests.support.serving import Client, ask, in_worker, serving

INSIDE = "tests.connections.inside_lifetime"
AT_ONCE = RestartPolicy(limit=100, backoff=(0.0, 0.0))


async def refused(address: Address) -> None:
    """Returns when nobody can connect any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection(address.host, address.port)
        except (ConnectionRefusedError, ConnectionResetError):  # reset: it closed while the client connected
            return
        writer.close()
        await asyncio.sleep(0.01)


# ---- whose worker has failed


async def test_a_port_that_the_replacement_does_not_open_closes(tmp_path: Path) -> None:
    file = tmp_path / "turn"
    cluster = Cluster(f"{INSIDE}:serve_another_port_each_time", workers=1, args=[str(file)], restart=AT_ONCE)
    async with serving(cluster, 1) as first, cluster.events("listening") as heard:
        (worker,) = cluster.workers.values()
        worker.kill()
        second = (await anext(heard)).address
        assert second != first
        await refused(first)
        assert [port.address for port in cluster.stats().ports] == [second]
        assert cluster.stats().listeners == cluster.stats().ports
        assert await ask(second) > 0


async def test_a_port_stays_while_replacements_end_before_they_open_it(tmp_path: Path) -> None:
    file = tmp_path / "ends"
    cluster = Cluster(f"{INSIDE}:serve_or_end", workers=1, args=[str(file)], restart=AT_ONCE)
    async with serving(cluster, 1) as address, several(cluster, "exit", "listening") as heard:
        (worker,) = cluster.workers.values()
        file.write_text("xx")  # so do the next two
        worker.kill()
        for _ in range(3):
            assert (await anext(heard)).name == "exit"
        assert (await anext(heard)).address == address
        assert await ask(address) > 0


async def test_a_port_for_which_no_replacement_comes_closes() -> None:
    cluster = Cluster(serve, workers=1, restart=False)
    async with serving(cluster, 1) as address:
        (worker,) = cluster.workers.values()
        worker.kill()
        await refused(address)


async def test_a_port_that_the_replacement_opens_too_late_closes(tmp_path: Path) -> None:
    file = tmp_path / "idle"
    cluster = Cluster(f"{INSIDE}:serve_or_idle", workers=1, args=[str(file)], restart=AT_ONCE, start_timeout=3.0)
    async with serving(cluster, 1) as address:
        (worker,) = cluster.workers.values()
        file.touch()
        worker.kill()
        await refused(address)
        assert cluster.workers


async def test_under_a_primary_the_next_worker_is_the_heir(tmp_path: Path) -> None:
    file = tmp_path / "turn"
    async with Primary(f"{INSIDE}:serve_another_port_each_time", args=[str(file)]) as primary:
        async with primary.events("listening") as heard:
            worker = await primary.fork()
            first = (await anext(heard)).address
            worker.kill()
            await worker.wait_gone()
            client = await Client.connect(first)
            await primary.fork()
            assert (await anext(heard)).address != first
            await refused(first)
            await client.close()


@pytest.mark.parametrize("how", ["with", "finally", "group", "body of a group"])
async def test_an_exception_that_closes_the_server_on_its_way_closes_no_port(how: str, worker_loop: Loop) -> None:
    cluster = Cluster(f"{INSIDE}:serve_until_told", workers=1, args=[how], restart=AT_ONCE, loop=worker_loop)
    async with serving(cluster, 1) as address, several(cluster, "error", "listening") as heard:
        (worker,) = cluster.workers.values()
        async with Crowd(address, size=4) as crowd:
            await worker.send("fail")
            assert (await anext(heard)).name == "error"
            assert (await anext(heard)).address == address
            await crowd.ended(20)
        assert crowd.ends["refused"] == 0


# ---- whose server is closed


@in_worker
async def test_when_wait_closed_is_over_the_port_is_closed() -> None:
    for how in ("close", "cancel"):
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        if how == "close":
            server.close()
            await server.wait_closed()
        else:
            forever = asyncio.create_task(server.serve_forever())
            await asyncio.sleep(0)
            forever.cancel()
            await asyncio.wait([forever])
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen()


@in_worker
async def test_a_program_that_survives_the_exception_has_its_port_closed() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    with pytest.raises(LookupError):
        async with server:
            raise LookupError
    await refused(Address("tcp4", host=host, port=port))


@in_worker
async def test_a_server_that_an_exception_has_closed_may_be_opened_and_closed_again() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    for _ in range(3):
        with pytest.raises(LookupError):
            async with server:
                raise LookupError
        server = await asyncio.start_server(lambda reader, writer: None, host, port)
    await asyncio.sleep(0.1)  # longer than the primary waits for a failure
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    server.close()
    await server.wait_closed()
    await refused(Address("tcp4", host=host, port=port))


# ---- the user's own


async def test_a_port_that_the_user_has_opened_stays() -> None:
    async with Primary(serve) as primary, primary.events("listening") as heard:
        address = await primary.listen("127.0.0.1", 0)
        for _ in range(2):
            client = await Client.connect(address)
            await client.send()
            worker = await primary.fork()
            assert (await anext(heard)).address == address
            assert await client.answer() == worker.pid
            await client.close()
            await primary.disconnect()


# ---- not serving yet


async def test_a_port_that_one_of_two_workers_serves() -> None:
    cluster = Cluster(f"{INSIDE}:serve_when_told", workers=2)
    async with cluster.events("message") as heard, cluster:
        ports = {(await anext(heard)).message for _ in range(2)}
        assert len(ports) == 1
        address = Address("tcp4", host="127.0.0.1", port=ports.pop())
        with pytest.raises(ConnectionRefusedError):
            await Client.connect(address)
        first, second = cluster.workers.values()
        async with cluster.events("listening") as listening:
            await first.send("serve")
            assert (await anext(listening)).address == address
            assert {await ask(address) for _ in range(4)} == {first.pid}
            await second.send("serve")
            await anext(listening)
        assert {await ask(address) for _ in range(4)} == {first.pid, second.pid}
