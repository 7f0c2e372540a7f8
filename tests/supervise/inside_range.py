"""What runs in the workers of `test_range`: their handlers keep the event loop busy for as long as the client asks."""

from __future__ import annotations

import asyncio
import os
import time

from aiocluster import current_worker


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers requests such as ``GET /0.05`` until the client has gone, each after so many seconds of sleep."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            time.sleep(float(head.split()[1][1:]))  # noqa: ASYNC251
            body = b"%d" % os.getpid()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


async def serve_in_the_first_two() -> None:
    if (current_worker().slot or 0) >= 2:
        raise LookupError("no device for this slot")
    await serve()


async def serve_until_asked() -> None:
    """Crashes with the first request."""

    async def crash(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        os._exit(3)

    server = await asyncio.start_server(crash, "127.0.0.1", 0)
    await server.serve_forever()
