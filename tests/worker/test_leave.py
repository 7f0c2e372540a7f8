"""How a worker leaves: what is in flight finishes, and nothing takes longer than it may."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from typing import Any

import pytest

from aiocluster import Cluster, Primary
from aiocluster.events import Message
from aiocluster.settings import Loop
from tests.support.events import several
from tests.support.serving import Client, ask, serving, wait_until_it_ignores

from .inside_leave import (
    answers_when_it_leaves,
    asks,
    asks_in_layers,
    cleans_up,
    disconnects_itself,
    does_not_leave,
    ignores_sigterm,
    is_busy,
    is_told_as_it_exits,
    is_told_as_its_loop_stops,
    plain,
    runs_no_loop,
    tells_its_deadline,
    with_aiohttp,
    with_uvicorn,
)


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


async def test_a_reply_reaches_whoever_asked_through_any_layers() -> None:
    is_asked = asyncio.Event()

    async def reply(message: Any, sender: int) -> Any:
        if message == "leaves":
            is_asked.set()
        await is_asked.wait()
        return f"a reply to {message}"

    async with Primary(asks_in_layers) as primary, primary.events("message") as heard:
        primary.handle_requests(reply)
        worker = await primary.fork()
        assert (await anext(heard)).message == "asks"
        leaving = asyncio.ensure_future(worker.disconnect())
        assert (await anext(heard)).message == "a reply to a question"
        await leaving
        assert (worker.exit_code, worker.exit_reason) == (0, "told")


@pytest.mark.parametrize("target", [is_told_as_its_loop_stops, is_told_as_it_exits])
async def test_a_signal_while_the_loop_winds_up(target: Any, worker_loop: Loop) -> None:
    async with Primary(target, loop=worker_loop, silent=True) as primary:
        worker = await primary.fork()
        await worker.wait_gone()
        assert (worker.exit_signal, worker.stderr_tail) == (signal.SIGTERM, b"")


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
