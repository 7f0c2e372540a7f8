"""What Node's own tests of `cluster` show of shared ports, where no other test does.

See docs/reference/parity_tests.md.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiocluster import Primary, exclusive
from aiocluster.events import Listening, Message
from tests.support.events import several
from tests.support.serving import in_worker

from .inside_cluster_ports_behaviour import (
    Ignoring,
    ignore,
    restart_in_the_second_worker,
    send_datagrams,
    take_and_hold,
    take_datagrams,
    try_when_told,
)

POLICIES = pytest.mark.parametrize("scheduling", ["round_robin", "shared", "reuse_port"])
PRIVILEGED = 42

# ---- targets


# ---- what can't be opened


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to ports below 1024."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(
    not sys.platform.startswith("linux")
    or int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= PRIVILEGED,
    reason="anybody may open this port",
)
@POLICIES
async def test_a_port_below_1024_is_refused_in_the_worker(scheduling: str) -> None:
    async with Primary(try_when_told, scheduling=scheduling) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        await worker.wait_for("online")
        with as_nobody():
            await worker.send(PRIVILEGED)
            assert (await anext(heard)).message == errno.EACCES
        await worker.disconnect()
        assert worker.exit_code == 0


@POLICIES
async def test_a_port_in_use_is_refused_in_the_worker(scheduling: str) -> None:
    async with Primary(try_when_told, scheduling=scheduling) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        with socket.create_server(("127.0.0.1", 0)) as occupied:
            port = occupied.getsockname()[1]
            await worker.send(port)
            assert (await anext(heard)).message == errno.EADDRINUSE
        await worker.send(port)
        assert (await anext(heard)).message == 0


async def test_two_primaries_do_not_share_a_port() -> None:
    async with Primary(try_when_told) as first, Primary(try_when_told) as second, second.events("message") as heard:
        address = await first.listen("127.0.0.1", 0)
        worker = await second.fork()
        await worker.send(address.port)
        assert (await anext(heard)).message == errno.EADDRINUSE


# ---- opened again, and opened with options


@POLICIES
async def test_one_worker_opens_port_0_again_while_another_one_has_it(scheduling: str) -> None:
    async with Primary(restart_in_the_second_worker, scheduling=scheduling) as primary:
        first = await primary.fork()
        await first.wait_for("listening")
        second = await primary.fork()
        exit = await second.wait()
        assert (exit.code, exit.signal) == (0, None)
        await first.disconnect()
        assert first.exit_code == 0


@in_worker
async def test_port_0_is_opened_again_and_again() -> None:
    loop = asyncio.get_running_loop()
    for _ in range(2):
        for server in [await asyncio.start_server(ignore, "127.0.0.1", 0) for _ in range(2)]:
            server.close()
            await server.wait_closed()
            async with await asyncio.start_server(ignore, "127.0.0.1", 0) as again:
                assert again.is_serving()
        for transport, _ in [await loop.create_datagram_endpoint(Ignoring, local_addr=("127.0.0.1", 0)) for _ in "ab"]:
            transport.close()
            again_transport, _ = await loop.create_datagram_endpoint(Ignoring, local_addr=("127.0.0.1", 0))
            again_transport.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a listening socket's backlog")
@in_worker
async def test_the_backlog_is_the_one_the_worker_asked_for() -> None:
    async with await asyncio.start_server(ignore, "127.0.0.1", 0, backlog=37) as server:
        info = server.sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        sacked = info[28:32]  # of a listening socket, tcp_info's tcpi_sacked is its backlog
        assert int.from_bytes(sacked, sys.byteorder) == 37


@in_worker
async def test_reuse_port_is_for_one_process_alone() -> None:
    loop = asyncio.get_running_loop()
    with exclusive():
        first = await asyncio.start_server(ignore, "127.0.0.1", 0, reuse_port=True)
        address = first.sockets[0].getsockname()
        second = await asyncio.start_server(ignore, *address, reuse_port=True)
        one, _ = await loop.create_datagram_endpoint(Ignoring, local_addr=("127.0.0.1", 0), reuse_port=True)
        other, _ = await loop.create_datagram_endpoint(
            Ignoring, local_addr=one.get_extra_info("sockname"), reuse_port=True
        )
    assert second.sockets[0].getsockname() == address
    for opened in (first, second, one, other):
        opened.close()
    await asyncio.gather(first.wait_closed(), second.wait_closed())


# ---- UDP


@in_worker
async def test_udp_of_both_families_on_one_port() -> None:
    """On all addresses one socket takes both, as in asyncio; on one address each family has its own."""
    loop = asyncio.get_running_loop()
    six, _ = await loop.create_datagram_endpoint(Ignoring, local_addr=("::1", 0))
    port = six.get_extra_info("sockname")[1]
    four, _ = await loop.create_datagram_endpoint(Ignoring, local_addr=("127.0.0.1", port))
    assert four.get_extra_info("sockname") == ("127.0.0.1", port)
    six.close()
    four.close()
    both, _ = await loop.create_datagram_endpoint(Ignoring, local_addr=("::", 0))
    with pytest.raises(OSError) as caught:
        await loop.create_datagram_endpoint(Ignoring, local_addr=("0.0.0.0", both.get_extra_info("sockname")[1]))
    assert errno.EADDRINUSE in (caught.value.errno, getattr(caught.value.__cause__, "errno", None))  # uvloop's cause
    both.close()


async def test_a_datagram_goes_to_one_worker() -> None:
    each = 10
    async with Primary(take_datagrams, args=[str(each)], loop="asyncio") as primary:
        async with several(primary, "listening", "message") as heard:
            workers = [await primary.fork() for _ in range(4)]
            events: list[Listening] = [await anext(heard) for _ in workers]
            address = events[0].address
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                for _ in range(each * len(workers)):
                    client.sendto(b"hello", (address.host, address.port))
            messages: list[Message] = [await anext(heard) for _ in workers]
            assert {event.sender for event in messages} == {worker.pid for worker in workers}
            assert [event.message for event in messages] == [0] * len(workers)


async def test_workers_send_from_the_shared_udp_port() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        ours.setblocking(False)
        async with Primary(send_datagrams) as primary, primary.events("listening") as heard:
            workers = [await primary.fork() for _ in range(3)]
            events: list[Listening] = [await anext(heard) for _ in workers]
            await primary.broadcast(ours.getsockname()[1])
            told = [await loop.sock_recvfrom(ours, 100) for _ in workers]
            assert {int(data) for data, _ in told} == {worker.pid for worker in workers}
            assert {peer for _, peer in told} == {(events[0].address.host, events[0].address.port)}


# ---- leaving


@POLICIES
async def test_one_with_a_connection_leaves_when_its_client_has_gone(scheduling: str) -> None:
    async with Primary(take_and_hold, scheduling=scheduling) as primary:
        async with several(primary, "listening", "message") as heard:
            workers = [await primary.fork() for _ in range(2)]
            events: list[Listening] = [await anext(heard) for _ in workers]
            with socket.create_connection((events[0].address.host, events[0].address.port)):
                message: Message = await anext(heard)
                (other,) = [worker for worker in workers if worker.pid != message.sender]
                leaving = asyncio.ensure_future(primary.disconnect())
                await other.wait_gone()
                assert list(primary.workers.values()) == [message.worker]
            await leaving
        assert [(worker.exit_code, worker.exited_after_disconnect) for worker in workers] == [(0, True)] * 2
