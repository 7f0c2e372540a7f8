"""What runs in the workers of `test_listen`."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from aiocluster import current_worker, exclusive


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one HTTP request with the pid."""
    await reader.readuntil(b"\r\n\r\n")
    body = b"%d" % os.getpid()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
    await writer.wait_closed()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


def by_asyncio_run() -> None:
    asyncio.run(serve())


def by_runner() -> None:
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))  # an earlier one on the same loop
        runner.run(serve())


def by_uvloop_run() -> None:
    import uvloop

    uvloop.run(serve())


def by_run_forever() -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(serve())
    try:
        loop.run_forever()
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


def by_second_loop() -> None:
    asyncio.run(asyncio.sleep(0))
    asyncio.run(serve())


def by_anyio() -> None:
    import anyio

    anyio.run(serve)


async def by_async_function() -> None:
    await serve()


def by_uvicorn() -> None:
    import uvicorn

    from examples.uvicorn_app import app

    uvicorn.run(app, host="127.0.0.1", port=0, log_level="warning")


def by_uvicorn_on_asyncio() -> None:
    import uvicorn

    from examples.uvicorn_app import app

    uvicorn.run(app, host="127.0.0.1", port=0, log_level="warning", loop="asyncio", http="h11")


def by_aiohttp() -> None:
    from aiohttp import web

    from examples.aiohttp_app import app

    web.run_app(app, host="127.0.0.1", port=0, print=lambda *args: None)


WAYS = [
    by_asyncio_run,
    by_runner,
    by_uvloop_run,
    by_run_forever,
    by_second_loop,
    by_anyio,
    by_async_function,
    by_uvicorn,
    by_uvicorn_on_asyncio,
    by_aiohttp,
]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    writer.close()
    await writer.wait_closed()


async def two_ports() -> None:
    servers = [await asyncio.start_server(echo, "127.0.0.1", 0) for _ in range(2)]
    await current_worker().send([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def serve_unix(path: str) -> None:
    server = await asyncio.start_unix_server(answer, path)
    await server.serve_forever()


class Answering(asyncio.DatagramProtocol):
    """Answers each datagram with the pid."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        self.transport.sendto(b"%d" % os.getpid(), peer)


async def serve_udp() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Answering, local_addr=("127.0.0.1", 0))
    try:
        await loop.create_future()
    finally:
        transport.close()


async def try_when_told() -> None:
    """Tries to listen where a message says, and says how that went."""
    worker = current_worker()
    async for where in worker.messages():
        try:
            if isinstance(where, str):
                server = await asyncio.start_unix_server(echo, where)
            else:
                server = await asyncio.start_server(echo, "127.0.0.1", where)
        except OSError as error:
            await worker.send(error.errno)
        else:
            await worker.send(0)
            server.close()


async def try_without_roots_rights() -> None:
    """The same, as nobody: root may bind anywhere."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    await try_when_told()


async def exclusive_ports() -> None:
    worker = current_worker()
    with exclusive():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await worker.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def ports_of_ones_own() -> None:
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(answer, "127.0.0.1", 0, reuse_port=True)
    transport, _ = await loop.create_datagram_endpoint(Answering, local_addr=("127.0.0.1", 0), reuse_port=True)
    sockets = server.sockets[0], transport.get_extra_info("socket")
    await current_worker().send([sock.getsockname()[1] for sock in sockets])
    try:
        await server.serve_forever()
    finally:
        transport.close()
