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


@pytest.mark.parametrize("what", TYPES)
async def test_handlers_of_messages_in_the_primary(what: str) -> None:
    async with Primary(raisers.stay) as primary:
        heard: list[int] = []
        errors: list[Error] = []
        is_over = asyncio.Event()
        primary.on("error", errors.append)

        @primary.on("message")
        def fail(event: Message) -> None:
            if event.message[0] == 100:
                raise_one(what)

        @primary.on("message")
        async def fail_later(event: Message) -> None:
            if event.message[0] == 100:
                await raise_one_later(what)

        @primary.on("message")
        def keep(event: Message) -> None:
            heard.append(event.message[0])
            if event.message[0] < 0:
                is_over.set()

        worker = await primary.fork()
        await worker.wait_for("online")
        await worker._session.run(raisers.send_numbers, [primary._shared.router._own_pid, COUNT])
        await is_over.wait()
        assert heard == [*range(COUNT), -1]
        while len(errors) < 2:
            await asyncio.sleep(0)
        names = {f"{type(event.error).__module__}.{type(event.error).__qualname__}" for event in errors}
        assert names == {TYPES[what]}
        assert [event.worker for event in errors] == [worker, worker]
        assert not worker.is_dead()


@pytest.mark.parametrize("what", TYPES)
async def test_handlers_of_messages_in_a_worker(what: str) -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(raisers.raise_at, [what, 100])
        await a._session.run(raisers.send_numbers, [b.pid, COUNT])
        assert await b._session.run(raisers.heard_until_the_last, []) == [*range(COUNT), -1]
        assert await b._session.run(raisers.failures, []) == [TYPES[what].rpartition(".")[2]] * 2
        assert not b.is_dead()
        assert all.events == []


@pytest.mark.parametrize("what", TYPES)
async def test_handlers_of_requests(what: str) -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(raisers.answer, [])

        async def handle(message: str, sender: int) -> None:
            await raise_one_later(what)

        all.primary.handle_requests(handle)
        for how in ("now", "later", "of a generator"):
            with pytest.raises(RemoteError) as caught:
                await b.request([how, what], timeout=20)
            if (how, what) != ("of a generator", "StopAsyncIteration"):  # of which Python makes a RuntimeError
                assert caught.value.type_name == TYPES[what]
            text = await a._session.run(inside.catch, ["request_to", b.pid, [how, what]])
            assert text.startswith("RemoteError")
        assert TYPES[what] in await a._session.run(inside.catch, ["request", "anything"])
        all.primary.handle_requests(lambda message, sender: raise_one(what))
        assert TYPES[what] in await a._session.run(inside.catch, ["request", "anything"])
        assert await b.request(["after", 1]) == ["after", 1]
        assert all.events == []


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
@pytest.mark.parametrize("what", TYPES)
async def test_functions_that_are_called(function: object, what: str) -> None:
    async with Cluster(raisers.stay, workers=1) as cluster:
        (worker,) = cluster.workers.values()
        with pytest.raises(RemoteError) as caught:
            await cluster.call(function, what, timeout=20)  # type: ignore[arg-type]
        assert caught.value.type_name == TYPES[what]
        assert await cluster.call(raisers.in_a_thread)
        assert list(cluster.workers.values()) == [worker]


async def test_functions_that_raise_what_no_future_can_hold_or_no_frame() -> None:
    async with Cluster(raisers.stay, workers=1) as cluster:
        for function in (raisers.stop_iteration, raisers.stop_iteration_async):
            with pytest.raises(RemoteError, match="raised StopIteration"):
                await cluster.call(function, timeout=20)
        with pytest.raises(RemoteError) as caught:
            await cluster.call(raisers.very_long, timeout=20)
        assert caught.value.type_name == "builtins.ValueError"
        assert 50_000 < len(caught.value.text) < 200_000
