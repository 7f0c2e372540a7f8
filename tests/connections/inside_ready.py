"""Workers of `test_ready`: servers whose handlers block their loop for as many milliseconds as the target says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from typing import Any

from aiocluster import listen

HOST = "127.0.0.1"


def respond(request: bytes) -> bytes:
    """Blocks, and tells the pid. ``/die`` ends the process."""
    target = request.split(b" ", 2)[1][1:]
    if target == b"die":
        os._exit(1)
    time.sleep(int(target or 0) / 1000)
    body = b"%d" % os.getpid()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Protocol(asyncio.Protocol):
    """One request, or several."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(respond(data))


async def serve_protocol() -> None:
    server = await asyncio.get_running_loop().create_server(Protocol, HOST, 0)
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            writer.write(respond(await reader.readuntil(b"\r\n\r\n")))
    writer.close()


async def serve_streams() -> None:
    server = await asyncio.start_server(_answer, HOST, 0)
    await server.serve_forever()


async def serve_tls(certificate: str, milliseconds: str) -> None:
    """Speaks first, and blocks before it does."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(respond(b"GET /%b " % milliseconds.encode()))
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(greet, HOST, 0, ssl=context)
    await server.serve_forever()


async def serve_anyio() -> None:
    async def answer(stream: Any) -> None:
        async with stream:
            await stream.send(respond(await stream.receive()))

    await (await listen(HOST, 0)).serve(answer)


def serve_uvicorn() -> None:
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        body = respond(b"GET " + scope["path"].encode() + b" ").rpartition(b"\n")[2]
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(app, host=HOST, port=0, log_level="warning", lifespan="off")


def serve_aiohttp() -> None:
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=respond(b"GET " + request.path.encode() + b" ").rpartition(b"\n")[2])

    app = web.Application()
    app.router.add_get("/{milliseconds}", answer)
    web.run_app(app, host=HOST, port=0, print=None)


def serve_on_and_on() -> None:
    """Its loop stops at each request, in the turn in which it has answered, and runs again."""

    class Stops(Protocol):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            loop.stop()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Stops, HOST, 0))
    while server.is_serving():
        loop.run_forever()
