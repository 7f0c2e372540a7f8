"""What runs in the workers of `test_cluster_behaviour`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import os
import sys

from aiocluster import current_worker


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b"%d" % os.getpid()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
    await writer.wait_closed()


async def idle() -> None:
    await asyncio.get_running_loop().create_future()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


async def serve_udp() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    try:
        await loop.create_future()
    finally:
        transport.close()


async def serve_if_told() -> None:
    await {"tcp": serve, "udp": serve_udp, None: idle}[os.environ.get("SERVE")]()


async def serve_twice() -> None:
    servers = [await asyncio.start_server(answer, "127.0.0.1", 0) for _ in range(2)]
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def listen_and_exit(code: str) -> None:
    await asyncio.start_server(answer, "127.0.0.1", 0)
    sys.exit(int(code))


async def tell_interpreter() -> None:
    await current_worker().send(os.environ.get("INTERPRETER"))


async def tell_cwd() -> None:
    await current_worker().send(os.getcwd())


async def say_whether_connected() -> None:
    worker = current_worker()
    await worker.send(worker.is_connected())
    await worker.disconnect()


async def leave_when_told() -> None:
    worker = current_worker()
    async for message in worker.messages():
        if message == "leave":
            await worker.disconnect()


async def echo() -> None:
    """Sends the primary what comes from it, with its sockets."""
    worker = current_worker()
    messages = worker.messages()
    async for message in messages:
        await worker.send(message, messages.handles)


async def fail_to_listen() -> None:
    worker = current_worker()
    try:
        await asyncio.start_server(answer, "127.0.0.1", int(os.environ["PORT"]))
    except OSError:
        await worker.disconnect()
        raise


def spin() -> None:
    while True:
        pass
