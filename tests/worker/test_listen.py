"""Asyncio's listening calls go through the primary, from any library, on any loop."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from aiocluster import Cluster, Primary, exclusive
from aiocluster.events import Address, Listening, Message
from aiocluster.settings import Loop
from tests.support.events import several
from tests.support.serving import EXAMPLES, all_ready, ask, in_worker, serving

from .inside_listen import (
    WAYS,
    Answering,
    echo,
    exclusive_ports,
    ports_of_ones_own,
    serve,
    serve_udp,
    serve_unix,
    try_when_told,
    try_without_roots_rights,
    two_ports,
)


@pytest.mark.parametrize("way", WAYS)
async def test_two_workers_share_a_port_however_the_loop_came_to_be(way: Any) -> None:
    cluster = Cluster(way, workers=2)
    async with serving(cluster, 2) as address:
        answers = []
        for _ in range(6):
            answers.append(await ask(address))
            await all_ready(cluster)
        assert sorted(answers) == sorted([worker.pid for worker in cluster.workers.values()] * 3)
        workers = list(cluster.workers.values())
        await cluster.stop()
        assert [worker.exited_after_disconnect for worker in workers] == [True, True]


async def test_two_workers_share_a_websocket_port() -> None:
    from websockets.asyncio.client import connect

    cluster = Cluster(EXAMPLES / "websockets_app.py", workers=2, env={"PORT": "0"})
    async with serving(cluster, 2) as address:
        pids = []
        for _ in range(4):
            async with connect(f"ws://{address}") as connection:
                await connection.send("hello")
                pid, text = str(await connection.recv()).split()
                assert text == "hello"
                pids.append(int(pid))
        assert sorted(pids) == sorted([worker.pid for worker in cluster.workers.values()] * 2)


# ---- addresses


async def say(*address: Any) -> bytes:
    """What the server there answers to a line."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"hello\n")
    heard = await reader.read()
    writer.close()
    await writer.wait_closed()
    return heard


async def listen(primary: Primary, workers: int = 1) -> list[Listening]:
    """The `listening` events of so many new workers of one port each."""
    async with primary.events("listening") as heard:
        for _ in range(workers):
            await primary.fork()
        return [await anext(heard) for _ in range(workers)]


@in_worker
async def test_ipv6() -> None:
    async with await asyncio.start_server(echo, "::1", 0) as server:
        assert server.sockets[0].family == socket.AF_INET6
        assert await say(*server.sockets[0].getsockname()[:2]) == b"hello\n"


@in_worker
async def test_all_interfaces_mean_both_families_on_a_given_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with await asyncio.start_server(echo, None, port) as server:
        assert {sock.family for sock in server.sockets} == {socket.AF_INET, socket.AF_INET6}
        assert {sock.getsockname()[1] for sock in server.sockets} == {port}
        assert await say("127.0.0.1", port) == b"hello\n"
        assert await say("::1", port) == b"hello\n"


@in_worker
async def test_several_hosts() -> None:
    async with await asyncio.start_server(echo, ["127.0.0.1", "127.0.0.2", "::1", "127.0.0.1"], 0) as server:
        addresses = [sock.getsockname()[:2] for sock in server.sockets]
        is_asyncio = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
        twice = [] if is_asyncio else ["127.0.0.1"]  # uvloop binds a host that is named twice to two ports
        assert sorted(host for host, _ in addresses) == ["127.0.0.1", *twice, "127.0.0.2", "::1"]
        for address in addresses:
            assert await say(*address) == b"hello\n"


@in_worker
async def test_family_limits_what_a_name_means() -> None:
    async with await asyncio.start_server(echo, "localhost", 0, family=socket.AF_INET) as server:
        assert [sock.family for sock in server.sockets] == [socket.AF_INET]


@in_worker
async def test_a_name_that_is_none() -> None:
    with pytest.raises(socket.gaierror):
        await asyncio.start_server(echo, "no.such.name.invalid", 0)


async def test_port_0_is_the_same_for_all_workers() -> None:
    async with Primary(serve) as primary:
        events = await listen(primary, 3)
        assert len({event.address for event in events}) == 1
        assert events[0].address.family == "tcp4"
        assert events[0].address.port > 0
        assert (await listen(primary))[0].address == events[0].address  # and for one that comes later


async def test_the_second_port_0_is_another_one_and_the_same_for_all_workers() -> None:
    async with Primary(two_ports) as primary, primary.events("message") as heard:
        await primary.fork()
        await primary.fork()
        first: Message = await anext(heard)
        second: Message = await anext(heard)
        assert first.message == second.message
        assert len(set(first.message)) == 2


async def test_the_last_worker_to_go_closes_the_port() -> None:
    async with Primary(serve) as primary:
        address = (await listen(primary, 2))[0].address
        first, second = primary.workers.values()
        await first.disconnect()
        assert await ask(address) == second.pid
        await second.disconnect()
        with pytest.raises(ConnectionRefusedError):
            await ask(address)


# ---- Unix sockets


async def test_unix_socket(tmp_path: Path, worker_loop: Loop) -> None:
    path = tmp_path / "socket"
    cluster = Cluster(serve_unix, args=[str(path)], workers=2, loop=worker_loop)
    async with serving(cluster, 2) as address:
        assert address == Address("unix", path=str(path))
        answers = [await ask(address) for _ in range(4)]
        assert sorted(answers) == sorted([worker.pid for worker in cluster.workers.values()] * 2)
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()


async def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serving(Cluster(serve_unix, args=[str(path)], workers=2), 2) as address:
        assert await ask(address) > 0
    assert not path.exists()


@in_worker
async def test_a_socket_file_in_use_is_left_alone(tmp_path: str) -> None:
    path = os.path.join(tmp_path, "socket")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(OSError) as caught:
            await asyncio.start_unix_server(echo, path)
        assert caught.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


@in_worker
async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: str) -> None:
    path = Path(tmp_path, "file")
    path.write_text("precious")
    with pytest.raises(OSError) as caught:
        await asyncio.start_unix_server(echo, path)
    assert caught.value.errno == errno.EADDRINUSE
    assert path.read_text() == "precious"


@in_worker
async def test_a_relative_path_is_the_workers(tmp_path: str) -> None:
    """Also where the whole path is longer than a socket's address can be."""
    folder = Path(tmp_path, *["a long name of a folder"] * 10)
    folder.mkdir(parents=True)
    os.chdir(folder)
    async with await asyncio.start_unix_server(echo, "here") as server:
        assert Path(folder, "here").exists()
        assert server.sockets[0].family == socket.AF_UNIX
        reader, writer = await asyncio.open_unix_connection("here")
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()


@in_worker
async def test_an_abstract_unix_socket() -> None:
    name = f"\0aiocluster-test-{os.getpid()}"
    async with await asyncio.start_unix_server(echo, name):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        sock.connect(name)  # uvloop's create_unix_connection() takes no such name
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()


# ---- UDP


async def test_udp(worker_loop: Loop) -> None:
    cluster = Cluster(serve_udp, workers=2, loop=worker_loop)
    loop = asyncio.get_running_loop()
    async with serving(cluster, 2) as address:
        assert address.family == "udp4"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((address.host, address.port))
            for _ in range(4):
                await loop.sock_sendall(client, b"who?")
                assert int(await loop.sock_recv(client, 100)) in {one.pid for one in cluster.workers.values()}


@in_worker
async def test_udp_closed_can_be_opened_again() -> None:
    loop = asyncio.get_running_loop()
    closed = loop.create_future()

    class Closing(asyncio.DatagramProtocol):
        def connection_lost(self, error: Exception | None) -> None:
            closed.set_result(error)

    transport, _ = await loop.create_datagram_endpoint(Closing, local_addr=("127.0.0.1", 0))
    address = transport.get_extra_info("sockname")
    with pytest.raises(OSError):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=address)
    transport.close()
    assert await closed is None
    while True:  # the socket is closed a moment after connection_lost() was called
        try:
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=address)
            break
        except OSError:
            await asyncio.sleep(0)
    assert transport.get_extra_info("sockname") == address
    transport.close()


@in_worker
async def test_udp_on_all_addresses_takes_both_families() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Answering, local_addr=("::", 0))
    port = transport.get_extra_info("sockname")[1]
    for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((host, port))
            await loop.sock_sendall(client, b"who?")
            assert int(await loop.sock_recv(client, 100)) == os.getpid()
    transport.close()


@in_worker
async def test_udp_with_a_remote_address_is_nobody_elses_business() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        for _ in range(2):
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0), remote_addr=peer.getsockname()
            )
            transport.close()


# ---- what can't be opened


@contextmanager
def occupied() -> Iterator[int]:
    """A port of 127.0.0.1 that something else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@in_worker
async def test_a_port_in_use_raises_what_asyncio_raises() -> None:
    with occupied() as port:
        with pytest.raises(OSError) as caught:
            await asyncio.start_server(echo, "127.0.0.1", port)
        with exclusive(), pytest.raises(OSError) as asyncios_own:
            await asyncio.start_server(echo, "127.0.0.1", port)
    for error in caught.value, asyncios_own.value:  # from Python 3.13 on, asyncio's has the number twice
        assert error.errno == errno.EADDRINUSE
        assert re.search(rf"to bind on address \('127.0.0.1', {port}\): .*address already in use$", str(error))


@in_worker
async def test_one_bad_host_of_several_leaves_nothing_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with occupied() as port:
        with pytest.raises(OSError):
            await asyncio.start_server(echo, ["127.0.0.2", "127.0.0.1"], port)
    assert len(os.listdir("/proc/self/fd")) == before


@in_worker
async def test_the_same_port_twice_in_one_worker() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(OSError) as caught:
            await asyncio.start_server(echo, host, port)
        assert caught.value.errno == errno.EADDRINUSE


async def test_each_worker_is_told_and_others_may_try_again() -> None:
    async with Primary(try_when_told) as primary, primary.events("message") as heard:
        workers = [await primary.fork() for _ in range(2)]
        with occupied() as port:
            for worker in workers:
                await worker.send(port)
                assert (await anext(heard)).message == errno.EADDRINUSE
        for worker in reversed(workers):
            await worker.send(port)
            assert (await anext(heard)).message == 0


async def test_a_forbidden_address(tmp_path: Path) -> None:
    async with Primary(try_without_roots_rights) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        await worker.wait_for("online")
        folder = tmp_path / "forbidden"
        folder.mkdir(mode=0o500)
        await worker.send(str(folder / "socket"))
        assert (await anext(heard)).message == errno.EACCES
        folder.rmdir()


# ---- exclusive(), sock=


async def test_exclusive(worker_loop: Loop) -> None:
    async with Primary(exclusive_ports, loop=worker_loop) as primary, several(primary, "message", "listening") as heard:
        workers = [await primary.fork() for _ in range(2)]
        messages: list[Message] = [await anext(heard) for _ in range(2)]
        assert [type(message) for message in messages] == [Message, Message]
        ports = {message.sender: message.message for message in messages}
        assert len(set(ports.values())) == 2
        for pid, port in ports.items():
            assert await ask(Address("tcp4", "127.0.0.1", port)) == pid
        for worker in workers:
            listens = [
                one.laddr.port for one in psutil.Process(worker.pid).net_connections("tcp") if one.status == "LISTEN"
            ]
            assert listens == [ports[worker.pid]]


async def test_reuse_port_binds_in_this_process_alone(worker_loop: Loop) -> None:
    async with Primary(ports_of_ones_own, loop=worker_loop) as primary, primary.events("message") as heard:
        for _ in range(2):
            await primary.fork()
        first, second = [(await anext(heard)).message for _ in range(2)]
        assert first[0] != second[0]
        assert first[1] != second[1]


@in_worker
async def test_a_socket_of_ones_own_is_used_as_it_is() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        async with await asyncio.start_server(echo, sock=sock) as server:
            assert server.sockets[0].fileno() == sock.fileno()
            assert await say(*sock.getsockname()) == b"hello\n"


@in_worker
async def test_a_unix_socket_of_ones_own_is_used_as_it_is(tmp_path: str) -> None:
    path = os.path.join(tmp_path, "own")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        async with await asyncio.start_unix_server(echo, sock=sock) as server:
            assert server.sockets[0].fileno() == sock.fileno()


@in_worker
async def test_neither_host_nor_port_is_what_asyncio_says() -> None:
    loop: Any = asyncio.get_running_loop()
    with pytest.raises(ValueError, match="Neither host/port nor sock"):
        await loop.create_server(asyncio.Protocol)
    with pytest.raises(ValueError, match="can not be specified at the same time"):
        with socket.socket() as sock:
            await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, sock=sock)


@in_worker
async def test_a_loop_in_another_thread_shares_nothing() -> None:
    """Only the main thread's loop hears the primary; elsewhere asyncio's own server is what one gets."""

    async def serve_in_thread() -> bytes:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            return await say(*server.sockets[0].getsockname())

    assert await asyncio.to_thread(lambda: asyncio.run(serve_in_thread())) == b"hello\n"
