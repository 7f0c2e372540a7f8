"""What runs in the workers of `test_leave`: servers whose every request waits until the primary says "answer"."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from aiocluster import current_worker
from aiocluster._worker.current import current_session
from aiocluster.events import Shutdown


class Gate:
    """Requests wait at it until it is opened by a message. Each one that comes is announced."""

    def __init__(self) -> None:
        self._worker = current_worker()
        self._open = asyncio.Event()
        self._worker.on("message", lambda event: self._open.set())

    async def pass_through(self) -> bytes:
        await self._worker.send("waiting")
        await self._open.wait()
        return b"%d" % self._worker.pid


async def plain() -> None:
    gate = Gate()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = await gate.pass_through()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await server.serve_forever()


def with_uvicorn() -> None:
    import uvicorn

    gates: list[Gate] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            gates.append(Gate())
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
            await current_worker().send("shut down")
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = await gates[0].pass_through()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(app, host="127.0.0.1", port=0, log_level="warning")


def with_aiohttp() -> None:
    from aiohttp import web

    gates: list[Gate] = []

    async def lifespan(app: web.Application) -> Any:
        gates.append(Gate())
        yield
        await current_worker().send("shut down")

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=await gates[0].pass_through())

    app = web.Application()
    app.router.add_get("/", answer)
    app.cleanup_ctx.append(lifespan)
    web.run_app(app, host="127.0.0.1", port=0, print=lambda *args: None)


async def disconnects_itself() -> None:
    gate = Gate()
    current_worker().on("message", lambda event: current_worker().disconnect())
    await gate.pass_through()
    await asyncio.get_running_loop().create_future()


async def tells_its_deadline() -> None:
    worker = current_worker()

    async def tell(event: Shutdown) -> None:
        await worker.send(event.deadline)

    worker.on("shutdown", tell)
    await worker.send("running")
    await asyncio.get_running_loop().create_future()


async def answers_when_it_leaves() -> None:
    worker, is_leaving = current_worker(), asyncio.Event()

    async def reply(message: Any, sender: int) -> Any:
        await worker.send(message)
        await is_leaving.wait()
        return "a reply"

    worker.on("shutdown", lambda event: is_leaving.set())
    worker.handle_requests(reply)
    await asyncio.get_running_loop().create_future()


async def asks() -> None:
    worker = current_worker()

    @worker.on("shutdown")
    async def leave(event: Shutdown) -> None:
        await worker.send("leaves")

    asked = asyncio.ensure_future(worker.request("a question"))
    await worker.send("asks")
    await worker.send(await asked)
    await asyncio.get_running_loop().create_future()


async def cleans_up() -> None:
    await current_worker().send("running")
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await current_worker().send("cleaned up")


async def does_not_leave() -> None:
    await current_worker().send("running")
    while True:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            pass


def ignores_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asyncio.run(does_not_leave())


def is_busy() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def runs_no_loop() -> None:
    time.sleep(60)


def is_told_as_its_loop_stops() -> None:
    _hear_sigterm_as_the_loop_stops()
    asyncio.run(asyncio.sleep(0))
    raise AssertionError("it goes on")


async def is_told_as_it_exits() -> None:
    _hear_sigterm_as_the_loop_stops()
    raise SystemExit(3)


def _hear_sigterm_as_the_loop_stops() -> None:
    """At the moment at which the primary learns that none runs, while the loop still winds up."""
    channel = current_session().channel
    detach = channel.detach

    def detach_and_hear() -> None:
        detach()
        signal.raise_signal(signal.SIGTERM)

    channel.detach = detach_and_hear  # type: ignore[method-assign]


async def asks_in_layers() -> None:
    """The reply has to pass tasks, groups and timeouts, and comes together with the one that the way out waits for."""
    worker = current_worker()

    @worker.on("shutdown")
    async def leave(event: Shutdown) -> None:
        await worker.request("leaves")

    async def ask() -> Any:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            asked = group.create_task(worker.request("a question", timeout=60))
        (reply,) = await asyncio.gather(asyncio.wait_for(asked, 60))
        return reply

    asked = asyncio.ensure_future(ask())
    await worker.send("asks")
    await worker.send(await asyncio.shield(asked))
    await asyncio.get_running_loop().create_future()
