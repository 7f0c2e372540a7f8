"""What runs in the workers of `test_cluster_ports_behaviour`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
from typing import Any

from aiocluster import current_worker


class Ignoring(asyncio.DatagramProtocol):
    """Hears nothing."""


async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def try_when_told() -> None:
    """Listens where a message says, and says how that went."""
    worker = current_worker()
    async for port in worker.messages():
        try:
            server = await asyncio.start_server(ignore, "127.0.0.1", port)
        except OSError as error:
            await worker.send(error.errno)
        else:
            await worker.send(0)
            server.close()


async def restart_in_the_second_worker() -> None:
    worker = current_worker()
    port = None
    for _ in range(1 if worker.id == 1 else 3):
        server = await asyncio.start_server(ignore, "127.0.0.1", 0)
        assert port in (None, server.sockets[0].getsockname()[1])
        port = server.sockets[0].getsockname()[1]
        if worker.id != 1:
            server.close()
            await server.wait_closed()
    if worker.id == 1:
        await asyncio.get_running_loop().create_future()


class Counting(asyncio.DatagramProtocol):
    """Takes so many datagrams, and no more."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        self.wanted -= 1
        if self.wanted == 0:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.done.set_result(None)


async def take_datagrams(wanted: str) -> None:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_datagram_endpoint(lambda: Counting(int(wanted)), local_addr=("127.0.0.1", 0))
    await protocol.done
    await current_worker().send(protocol.wanted)
    await loop.create_future()


async def send_datagrams() -> None:
    worker = current_worker()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Ignoring, local_addr=("127.0.0.1", 0))
    async for port in worker.messages():
        transport.sendto(b"%d" % worker.pid, ("127.0.0.1", port))


async def take_and_hold() -> None:
    """Connections that end when the client does; the primary hears of each."""
    worker = current_worker()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await worker.send("taken")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    await server.serve_forever()
