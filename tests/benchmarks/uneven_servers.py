"""The servers that do uneven work: the path of a request says for how many microseconds its handler blocks the loop.

It sleeps and does not compute, so that four workers block at once on two cores. The body of an answer is its worker's
pid.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
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
            writer.write(_response())
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


LATE_IMPORTS: dict[str, tuple[str, ...]] = {
    "streams": (),
    "uvicorn": (
        "uvicorn.lifespan.on",
        "uvicorn.loops.auto",
        "uvicorn.protocols.http.auto",
        "uvicorn.protocols.websockets.auto",
    ),
}
"""What a server imports only when it starts, and a fork server is to have imported before."""

WORKERS_OF: dict[str, Callable[[], object]] = {"streams": streams, "uvicorn": uvicorn}


def serve_blocking(workers: str) -> None:
    """In a parent of processes that block in `accept`, serve one connection, and accept the next.

    A connection is nobody's until somebody free accepts it: this is the ideal queue, as far as the machine allows one.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        children = [_forked(listening) for _ in range(int(workers))]
        print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
        sys.stdin.read()
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _forked(listening: socket.socket) -> int:
    if pid := os.fork():
        return pid
    while True:
        accepted, _ = listening.accept()
        with accepted, suppress(ConnectionError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (data := accepted.recv(65536)):
                    break
                head += data
            else:
                _block(head.decode().split(" ", 2)[1])
                accepted.sendall(_response())


def _response() -> bytes:
    body = b"%d" % os.getpid()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def workers_setting(text: str) -> dict[str, Any]:
    """The setting that ``4`` or ``2:8`` means."""
    low, _, high = text.partition(":")
    return {"workers": (int(low), int(high)) if high else int(low)}


async def serve(kind: str, workers: str, scheduling: str = "", start_method: str = "spawn") -> None:
    """In the primary: say the port when all workers listen, and serve until told to end.

    Args:
        workers: How many, or between how many: ``4``, ``2:8``.
        scheduling: A policy's name; the default policy without.
    """
    settings: dict[str, Any] = {"start_method": start_method, **workers_setting(workers)}
    if start_method == "template":
        settings["preload"] = LATE_IMPORTS[kind]
    cluster = Cluster(target(WORKERS_OF[kind]), scheduling=scheduling or None, **settings)
    async with cluster.events("listening") as heard, cluster:
        ports = {(await anext(heard)).address.port for _ in range(int(workers.partition(":")[0]))}
        print(json.dumps({"port": ports.pop()}), flush=True)
        await stdin_closed()
