"""What runs in the workers of `test_ports`, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import contextlib
import os

from aiocluster import current_worker


async def serve() -> None:
    """Keep-alive HTTP that answers with the pid."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                body = b"%d" % os.getpid()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


async def two_servers_one_port() -> None:
    """Closes its server and opens it again, when told; connections in between wait or go to the others."""
    worker = current_worker()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"%d" % os.getpid()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async for message in worker.messages():
        if message == "close":
            server.close()
        else:
            server = await asyncio.start_server(answer, host, port)
        await worker.send(message)
