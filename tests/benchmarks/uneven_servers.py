"""The servers that do uneven work: the path of a request says for how many microseconds its handler blocks the loop.

It sleeps and does not compute, so that four workers block at once on two cores. The body of an answer is its worker's
pid.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aiocluster import Cluster

from .own_process import stdin_closed, target

APP = f"{__name__}:app"


async def app(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """What every ASGI server runs."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    _block(scope["path"])
    body = b"%d" % os.getpid()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        keep = True
        while keep:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            keep = "connection: close" not in head.lower()
            _block(head.split(" ", 2)[1])
            body = b"%d" % os.getpid()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has what it wanted
    finally:
        writer.close()


def _block(path: str) -> None:
    time.sleep(int(path[1:] or 0) / 1e6)


async def streams() -> None:
    """In each worker: a plain asyncio server. Port 0 is the same port for all of them."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    async with server:
        await server.serve_forever()


def uvicorn() -> None:
    """In each worker: uvicorn, which knows nothing of it."""
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)


WORKERS_OF: dict[str, Callable[[], object]] = {"streams": streams, "uvicorn": uvicorn}


async def serve(kind: str, workers: str, scheduling: str = "") -> None:
    """In the primary: say the port when all workers listen, and serve until told to end.

    Args:
        scheduling: A policy's name; the default policy without.
    """
    cluster = Cluster(target(WORKERS_OF[kind]), workers=int(workers), scheduling=scheduling or None)
    async with cluster.events("listening") as heard, cluster:
        ports = {(await anext(heard)).address.port for _ in range(int(workers))}
        print(json.dumps({"port": ports.pop()}), flush=True)
        await stdin_closed()
