"""How a worker leaves: what is in flight finishes, and nothing takes longer than it may."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from typing import Any

import pytest

from aiocluster import Cluster, Primary, current_worker
from aiocluster.events import Message, Shutdown
from aiocluster.settings import Loop
from tests.support.events import several
from tests.support.serving import Client, ask, serving, wait_until_it_ignores

# ---- targets: servers whose every request waits until the primary says "answer"


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


# ---- tests


@pytest.mark.parametrize("target", [plain, with_uvicorn, with_aiohttp])
async def test_a_request_in_flight_is_answered(target: Any) -> None:
    async with Primary(target) as primary, several(primary, "message", "listening") as heard:
        worker = await primary.fork()
        address = (await anext(heard)).address
        client = await Client.connect(address)
        await client.send()
        assert (await anext(heard)).message == "waiting"
        leaving = asyncio.ensure_future(worker.disconnect())
        await worker.send("answer")
        assert await client.answer() == worker.pid
        await client.close()
        await leaving
        if target is not plain:
            assert (await anext(heard)).message == "shut down"
        assert worker.exited_after_disconnect


@pytest.mark.parametrize("target", [plain, with_uvicorn, with_aiohttp])
async def test_a_leaving_worker_gets_no_new_connections(target: Any) -> None:
    async with Primary(target) as primary, several(primary, "message", "listening") as heard:
        first, second = [await primary.fork() for _ in range(2)]
        address = (await anext(heard)).address
        assert (await anext(heard)).address == address
        client = await Client.connect(address)
        await client.send()
        message: Message = await anext(heard)
        leaving, staying = (first, second) if message.sender == first.pid else (second, first)
        left = asyncio.ensure_future(leaving.disconnect())
        await staying.send("answer")
        assert [await ask(address) for _ in range(4)] == [staying.pid] * 4
        await leaving.send("answer")
        assert await client.answer() == leaving.pid
        await client.close()
        await left


async def test_a_worker_that_leaves_of_its_own_accord() -> None:
    async with Primary(disconnects_itself) as primary:
        worker = await primary.fork()
        await worker.send("leave")
        exit = await worker.wait()
        assert (exit.code, exit.signal) == (0, None)
        assert worker.exited_after_disconnect


async def test_shutdown_tells_the_deadline(worker_loop: Loop) -> None:
    async with Primary(tells_its_deadline, loop=worker_loop) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        assert (await anext(heard)).message == "running"
        await worker.disconnect(timeout=12.5)
        assert (await anext(heard)).message == 12.5
        assert (worker.exit_code, worker.exit_signal) == (0, None)


async def test_the_main_task_may_clean_up(worker_loop: Loop) -> None:
    async with Primary(cleans_up, loop=worker_loop) as primary, primary.events("message") as heard:
        worker = await primary.fork()
        assert (await anext(heard)).message == "running"
        await worker.disconnect()
        assert (await anext(heard)).message == "cleaned up"
        assert (worker.exit_code, worker.exit_signal) == (0, None)


async def test_a_worker_told_before_it_is_online_leaves() -> None:
    async with Primary(cleans_up) as primary:
        worker = await primary.fork()
        await worker.disconnect()
        assert worker.exited_after_disconnect


async def test_one_told_between_its_import_and_its_loop_leaves_in_order(worker_loop: Loop) -> None:
    async with Primary(cleans_up, loop=worker_loop, silent=True) as primary:
        for _ in range(5):
            worker = await primary.fork()
            await worker.wait_for("online")
            await worker.disconnect()
            assert (worker.exit_code, worker.exit_reason, worker.stderr_tail) == (0, "told", b"")


async def test_a_request_to_a_worker_is_answered_although_it_leaves() -> None:
    async with Cluster(answers_when_it_leaves, workers=1) as cluster, cluster.events("message") as heard:
        (old,) = cluster.workers.values()
        asked = asyncio.ensure_future(old.request("a question"))
        assert (await anext(heard)).message == "a question"
        await cluster.reload()
        assert await asked == "a reply"
        assert (old.exit_code, old.exit_reason) == (0, "told")


async def test_a_request_of_a_worker_is_answered_although_it_leaves() -> None:
    is_leaving = asyncio.Event()

    async def reply(message: Any, sender: int) -> Any:
        await is_leaving.wait()
        return "a reply"

    async with Primary(asks) as primary, primary.events("message") as heard:
        primary.handle_requests(reply)
        worker = await primary.fork()
        assert (await anext(heard)).message == "asks"
        leaving = asyncio.ensure_future(worker.disconnect())
        assert (await anext(heard)).message == "leaves"
        is_leaving.set()
        assert (await anext(heard)).message == "a reply"
        await leaving
        assert (worker.exit_code, worker.exit_reason) == (0, "told")


async def test_a_worker_without_a_loop_is_sent_sigterm() -> None:
    async with Primary(runs_no_loop) as primary:
        worker = await primary.fork()
        await worker.wait_for("online")
        await worker.disconnect()
        assert (worker.exit_code, worker.exit_reason) == (0, "told")
        assert worker.exited_after_disconnect


async def test_the_deadline_ends_the_main_task() -> None:
    async with Primary(plain) as primary, several(primary, "message", "listening") as heard:
        worker = await primary.fork()
        client = await Client.connect((await anext(heard)).address)
        await client.send()
        assert (await anext(heard)).message == "waiting"
        await worker.disconnect(timeout=0.1)
        assert worker.exit_code == 0
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.answer()
        await client.close()


async def test_sigterm_ends_what_overstays_the_graceful_timeout(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(does_not_leave, workers=2, graceful_timeout=0.2)
    async with cluster.events("message") as heard, cluster:
        for _ in range(2):
            assert (await anext(heard)).message == "running"
        workers = list(cluster.workers.values())
    assert [worker.exit_signal for worker in workers] == [signal.SIGTERM] * 2
    assert re.search("has not left .*: SIGTERM", caplog.text)


@pytest.mark.parametrize("target", [ignores_sigterm, is_busy])
async def test_sigkill_ends_what_ignores_sigterm(target: Any) -> None:
    cluster = Cluster(target, workers=2, graceful_timeout=0.1)
    async with cluster:
        workers = list(cluster.workers.values())
        for worker in workers:
            wait_until_it_ignores(signal.SIGTERM, worker.pid)
        began = time.monotonic()
    assert [worker.exit_signal for worker in workers] == [signal.SIGKILL] * 2
    assert time.monotonic() - began < 10


async def test_stop_at_once() -> None:
    cluster = Cluster(is_busy, workers=2)
    async with cluster:
        workers = list(cluster.workers.values())
        await cluster.stop(graceful=False)
        assert [worker.exit_signal for worker in workers] == [signal.SIGKILL] * 2
        await cluster.stop()


async def test_an_idle_keep_alive_connection_does_not_hold_up_uvicorn() -> None:
    cluster = Cluster(with_uvicorn, workers=1)
    async with serving(cluster, 1) as address:
        client = await Client.connect(address)
        await client.send()
        await cluster.broadcast("answer")
        await client.answer()
        began = time.monotonic()
        await cluster.stop()
        assert time.monotonic() - began < 10
        await client.close()
