"""What runs in the workers of `test_port_lifetime`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from aiocluster import current_worker
from tests.connections.inside import HOST, answer, serve


async def serve_another_port_each_time(path: str) -> None:
    """Each worker serves a port that no other one has had: the file has as many bytes as there were workers."""
    file = Path(path)
    turn = file.stat().st_size if file.exists() else 0
    file.write_bytes(b"x" * (turn + 1))
    host = f"127.0.0.{turn + 1}"
    server = await asyncio.start_server(answer, host, 0)
    await server.serve_forever()


async def serve_or_end(path: str) -> None:
    """Ends while there are bytes in the file, and takes one away."""
    file = Path(path)
    if file.exists() and (text := file.read_text()):
        file.write_text(text[1:])
        sys.exit(1)
    await serve()


async def serve_or_idle(path: str) -> None:
    """Serves, unless there is this file."""
    if not os.path.exists(path):
        await serve()
    await asyncio.Event().wait()


async def serve_until_told(how: str) -> None:
    """Serves until it is told to fail; the exception closes the server on its way."""
    told = asyncio.Event()
    current_worker().on("message", lambda event: told.set())

    async def fail() -> None:
        await told.wait()
        raise LookupError("as told")

    server = await asyncio.start_server(answer, HOST, 0)
    if how == "with":
        async with server:
            await fail()
    elif how == "finally":
        try:
            await fail()
        finally:
            server.close()
    elif how == "group":
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve_forever())
            group.create_task(fail())
    else:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await server.serve_forever()


async def serve_when_told() -> None:
    """Tells its port, and serves it when it is told to."""
    worker = current_worker()
    told = asyncio.Event()
    worker.on("message", lambda event: told.set())
    server = await asyncio.start_server(answer, HOST, 0, start_serving=False)
    await worker.send(server.sockets[0].getsockname()[1])
    await told.wait()
    await server.serve_forever()
