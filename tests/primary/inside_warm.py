"""An application that the fork server of `test_template` has used before it forks: on both loops, and in threads."""

from __future__ import annotations

import asyncio
import os
from functools import cache


@cache
def compiled() -> int:
    """What the first use makes: here, the pid of the process that did."""
    return os.getpid()


async def use() -> int:
    return await asyncio.to_thread(compiled)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"%d %d" % (await use(), os.getpid()))
    await writer.drain()
    writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()
