"""What a user's function raises stays with it, whatever it is: all else goes on, and who waits is told."""

from __future__ import annotations

import asyncio

import pytest

from aiocluster import Cluster, Primary, RemoteError
from aiocluster.events import Error, Message
from tests.support import raising
from tests.support.raising import TYPES, raise_one, raise_one_later

from . import inside, raisers
from .party import party

COUNT = 1000


async def test_handlers_of_messages_in_the_primary() -> None:
    async with Primary(raisers.stay) as primary:
        heard: list[int] = []
        errors: list[Error] = []
        is_over = asyncio.Event()
        raised = ""
        primary.on("error", errors.append)

        @primary.on("message")
        def fail(event: Message) -> None:
            if event.message[0] == 100:
                raise_one(raised)

        @primary.on("message")
        async def fail_later(event: Message) -> None:
            if event.message[0] == 100:
                await raise_one_later(raised)

        @primary.on("message")
        def keep(event: Message) -> None:
            heard.append(event.message[0])
            if event.message[0] < 0:
                is_over.set()

        worker = await primary.fork()
        await worker.wait_for("online")
        for raised in TYPES:
            heard.clear()
            errors.clear()
            is_over.clear()
            await worker._session.run(raisers.send_numbers, [primary._shared.router._own_pid, COUNT])
            await is_over.wait()
            assert heard == [*range(COUNT), -1], raised
            while len(errors) < 2:
                await asyncio.sleep(0)
            names = {f"{type(event.error).__module__}.{type(event.error).__qualname__}" for event in errors}
            assert names == {TYPES[raised]}
            assert [event.worker for event in errors] == [worker, worker], raised
            assert not worker.is_dead(), raised


async def test_handlers_of_messages_in_a_worker() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(raisers.raise_when_told, [100])
        for what, name in TYPES.items():
            await b._session.run(raisers.raise_from_now_on, [what])
            await a._session.run(raisers.send_numbers, [b.pid, COUNT])
            assert await b._session.run(raisers.heard_until_the_last, []) == [*range(COUNT), -1], what
            assert await b._session.run(raisers.failures, []) == [name.rpartition(".")[2]] * 2
            assert not b.is_dead(), what
            assert all.events == [], what


async def test_handlers_of_requests() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(raisers.answer, [])
        raised = ""

        async def handle(message: str, sender: int) -> None:
            await raise_one_later(raised)

        def handle_now(message: str, sender: int) -> None:
            raise_one(raised)

        for raised, name in TYPES.items():
            all.primary.handle_requests(handle)
            for how in ("now", "later", "of a generator"):
                with pytest.raises(RemoteError) as caught:
                    await b.request([how, raised], timeout=20)
                if (how, raised) != ("of a generator", "StopAsyncIteration"):  # of which Python makes a RuntimeError
                    assert caught.value.type_name == name
                text = await a._session.run(inside.catch, ["request_to", b.pid, [how, raised]])
                assert text.startswith("RemoteError"), raised
            assert name in await a._session.run(inside.catch, ["request", "anything"])
            all.primary.handle_requests(handle_now)
            assert name in await a._session.run(inside.catch, ["request", "anything"])
            assert await b.request(["after", 1]) == ["after", 1], raised
            assert all.events == [], raised


async def test_a_handler_whose_task_somebody_cancels_is_answered_for() -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(raisers.answer, [])
        asking = asyncio.ensure_future(a.request(["cancelled", None]))
        await a.request(["first", None])
        await a._session.run(raisers.cancel_all_tasks, [])
        with pytest.raises(RemoteError, match="CancelledError"):
            await asking


@pytest.mark.parametrize("function", [raising.raise_one, raising.raise_one_later])
async def test_functions_that_are_called(function: object) -> None:
    async with Cluster(raisers.stay, workers=1) as cluster:
        (worker,) = cluster.workers.values()
        for what, name in TYPES.items():
            with pytest.raises(RemoteError) as caught:
                await cluster.call(function, what, timeout=20)  # type: ignore[arg-type]
            assert caught.value.type_name == name
            assert await cluster.call(raisers.in_a_thread), what
            assert list(cluster.workers.values()) == [worker], what


async def test_functions_that_raise_what_no_future_can_hold_or_no_frame() -> None:
    async with Cluster(raisers.stay, workers=1) as cluster:
        for function in (raisers.stop_iteration, raisers.stop_iteration_async):
            with pytest.raises(RemoteError, match="raised StopIteration"):
                await cluster.call(function, timeout=20)
        with pytest.raises(RemoteError) as caught:
            await cluster.call(raisers.very_long, timeout=20)
        assert caught.value.type_name == "builtins.ValueError"
        assert 50_000 < len(caught.value.text) < 200_000
