"""Addresses as they were given: a scope, a flow label, a port out of range."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from aiocluster import Primary, current_worker
from aiocluster.settings import Loop
from tests.support.serving import ask

from .inside import answer

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def link_local() -> str | None:
    """A link-local address of this machine, with the interface that it is one of; None if there is none."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        digits, _, _, _, flags, interface = line.split()
        if digits.startswith("fe80") and not int(flags, 16) & 0x40:  # tentative: it can't be bound yet
            return ":".join(digits[start : start + 4] for start in range(0, 32, 4)) + "%" + interface
    return None


needs_link_local = pytest.mark.skipif(link_local() is None, reason="this machine has no link-local IPv6 address")


async def serve_address(host: str) -> None:
    async with await asyncio.start_server(answer, host, 0) as server:
        await server.serve_forever()


@needs_link_local
async def test_a_link_local_address_keeps_its_interface(worker_loop: Loop) -> None:
    async with Primary(serve_address, args=[str(link_local())], loop=worker_loop) as primary:
        async with primary.events("listening") as heard:
            workers = [await primary.fork(), await primary.fork()]
            first, second = (await anext(heard)).address, (await anext(heard)).address
        assert first == second
        assert first.host.partition("%")[2] == str(link_local()).partition("%")[2]
        assert sorted([await ask(first), await ask(first)]) == sorted(worker.pid for worker in workers)


@needs_link_local
async def test_the_primary_opens_a_link_local_address() -> None:
    address = link_local()
    async with Primary(serve_address, args=[str(address)]) as primary:
        opened = await primary.listen(address, 0)
        async with primary.events("listening") as heard:
            worker = await primary.fork()
            assert (await anext(heard)).address == opened
        assert await ask(opened) == worker.pid


@needs_link_local
async def test_udp_on_a_link_local_address(worker_loop: Loop) -> None:
    async with Primary(echo_datagrams, args=[str(link_local())], loop=worker_loop) as primary:
        async with primary.events("listening") as heard:
            await primary.fork()
            address = (await anext(heard)).address
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0][4])
            await asyncio.get_running_loop().sock_sendall(client, b"hello")
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"hello"


async def echo_datagrams(host: str) -> None:
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data, addr)

    await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=(host, 0))
    await asyncio.get_running_loop().create_future()


# ---- ports out of range

HOSTS = ("127.0.0.1", "::1", "localhost")
PORTS = (-1, 65536, 70000, 2**31, 2**40)


async def outcomes() -> list[str]:
    """What becomes of listening calls with ports that don't exist."""
    loop = asyncio.get_running_loop()
    found = []
    for host in HOSTS:
        for port in PORTS:
            try:
                server = await asyncio.start_server(answer, host, port)
            except Exception as error:
                found.append(f"{type(error).__name__}: {error}")
            else:
                found.append(f"{host}:{port} listens")  # its lowest 16 bits do: so does asyncio where libc does
                server.close()
                await server.wait_closed()
            try:
                transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(host, port))
            except Exception as error:
                found.append(f"{type(error).__name__}: {error}")
            else:
                found.append(f"{host}:{port} receives")
                transport.close()
                await asyncio.sleep(0)
    return found


async def tell_outcomes() -> None:
    await current_worker().send(await outcomes())
    await asyncio.get_running_loop().create_future()


async def test_ports_out_of_range_are_refused_as_the_loop_does(worker_loop: Loop) -> None:
    def without_a_cluster() -> list[str]:
        with asyncio.Runner(loop_factory=LOOPS[worker_loop]) as runner:
            return runner.run(outcomes())

    alone = await asyncio.to_thread(without_a_cluster)
    async with Primary(tell_outcomes, loop=worker_loop) as primary, primary.events("message") as heard:
        await primary.fork()
        assert (await anext(heard)).message == alone


@pytest.mark.parametrize("port", PORTS)
async def test_the_primary_opens_no_port_out_of_range(port: int) -> None:
    async with Primary(tell_outcomes) as primary:
        with pytest.raises(OverflowError, match="port must be 0-65535"):
            await primary.listen("localhost", port)
