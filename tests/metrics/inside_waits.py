"""What runs in the workers of `test_waits`."""

from __future__ import annotations

import asyncio
import time

BLOCKS = 0.05  # seconds for each request


async def serve_slowly() -> None:
    """Blocks its loop for each connection, and then answers it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        time.sleep(BLOCKS)  # noqa: ASYNC251
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()
