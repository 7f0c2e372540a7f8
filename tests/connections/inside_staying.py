"""What runs in the workers of `test_staying`: a keep-alive server that blocks its loop as long as requests say."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time


def block(seconds: float) -> None:
    time.sleep(seconds)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """``GET /0.02`` blocks for 20 ms. The answer is this process's pid."""
    body = b"%d" % os.getpid()
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            block(float(request.split(b" ", 2)[1][1:] or 0))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()
