"""Requests, in each direction: replies, failures, timeouts, and the end of who was asked."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from aiocluster import ChannelClosedError, RemoteError

from . import inside
from .party import is_stopped, party


async def test_a_worker_answers_the_primary_and_other_workers() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.answer, [])
        assert await b.request({"n": 1}) == [{"n": 1}, os.getpid()]
        assert await b.request("later") == ["later", "later"]
        assert await a._session.run(inside.request_to, [b.pid, (1, None)]) == [[1, None], a.pid]
        assert await a._session.run(inside.request_to, [b.pid, "later"]) == ["later", "later"]


async def test_the_primary_answers_workers() -> None:
    async with party(2) as all:
        a, b = all.workers
        all.primary.handle_requests(lambda message, sender: [message, sender])
        assert await a._session.run(inside.request, ["a"]) == ["a", a.pid]
        assert await b._session.run(inside.request_to, [os.getpid(), "b"]) == ["b", b.pid]

        async def later(message: Any, sender: int) -> Any:
            await asyncio.sleep(0)
            return {"later": message}

        all.primary.handle_requests(later)
        assert await a._session.run(inside.request, ["a"]) == {"later": "a"}


async def test_many_at_a_time_get_their_own_replies() -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.answer, [])
        replies = await asyncio.gather(*(a.request([n, b"x" * n * 100]) for n in range(500)))
        assert [reply[0][0] for reply in replies] == list(range(500))


async def test_requests_and_replies_may_be_large() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.answer, [])
        body = os.urandom(3_000_000)
        replies = await asyncio.gather(
            b.request(body), b.request("small"), a._session.run(inside.request_to, [b.pid, body])
        )
        assert [reply[0] for reply in replies] == [body, "small", body]


async def test_a_handler_that_raises_is_the_requesters_error() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.answer, [])
        with pytest.raises(RemoteError) as caught:
            await b.request("fail")
        assert (caught.value.type_name, caught.value.text) == ("builtins.KeyError", "'fail'")
        assert 'raise KeyError("fail")' in caught.value.remote_traceback
        assert caught.value.remote_traceback.startswith("Traceback ")
        with pytest.raises(RemoteError) as caught:
            await b.request("fail later")
        assert (caught.value.type_name, caught.value.text) == (
            "tests.messages.inside.OddError",
            "later: \\udc80",
        )
        with pytest.raises(RemoteError) as caught:
            await b.request("unpackable")
        assert caught.value.type_name == "aiocluster.errors.SerializationError"
        assert caught.value.text == 'message["a"][0]: object'
        text = await a._session.run(inside.catch, ["request_to", b.pid, "fail"])
        assert text.startswith("RemoteError ClusterError ")
        assert "builtins.KeyError: 'fail'" in text
        assert await b.request("after") == ["after", os.getpid()]


async def test_a_handler_in_the_primary_that_raises() -> None:
    async with party(1) as all:

        def fail(message: Any, sender: int) -> None:
            raise ValueError(message)

        all.primary.handle_requests(fail)
        text = await all.workers[0]._session.run(inside.catch, ["request", "no"])
        assert "builtins.ValueError: no" in text
        assert "raise ValueError(message)" in text


async def test_without_a_handler_the_error_says_so() -> None:
    async with party(2) as all:
        a, b = all.workers
        with pytest.raises(RemoteError, match="handle_requests"):
            await b.request("anybody?")
        for arguments in (["request", "anybody?"], ["request_to", b.pid, "anybody?"]):
            assert "handle_requests" in await a._session.run(inside.catch, arguments)


async def test_a_late_reply_is_dropped() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.answer_late, [])
        with pytest.raises(TimeoutError, match=f"worker 2 .pid {b.pid}. did not reply within 0.05 seconds"):
            await b.request("first", timeout=0.05)
        text = await a._session.run(inside.catch_timeout, [b.pid, "second"])
        assert text == f"TimeoutError: the worker with pid {b.pid} did not reply within 0.05 seconds"
        third = asyncio.ensure_future(b.request("third"))
        fourth = asyncio.ensure_future(a._session.run(inside.request_to, [b.pid, "fourth"]))
        while not third.done() or not fourth.done():
            await b.send("open the gates")  # of the first and the second too
            await asyncio.wait([third, fourth], timeout=0.01)
        assert [await third, await fourth] == [["late", "third"], ["late", "fourth"]]


async def test_a_request_that_is_cancelled_cancels_its_handler() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.answer, [])
        asks: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            lambda: b.request("wait"),
            lambda: a._session.run(inside.request_to, [b.pid, "wait"]),
        ]
        for ask in asks:
            task = asyncio.ensure_future(ask())
            await all.hears("message", 1)
            task.cancel()
            assert [event.message for event in await all.hears("message", 2)] == ["begun", "cancelled"]
            all.events.clear()
            await asyncio.wait([task])


async def test_who_asks_a_worker_that_dies_is_told() -> None:
    async with party(3) as all:
        a, b, c = all.workers
        for worker in (b, c):
            await worker._session.run(inside.answer, [])
        waiting = asyncio.ensure_future(b.request("wait"))
        text = await a._session.run(inside.catch, ["request_to", b.pid, "kill"])
        assert text.startswith("ChannelClosedError ClusterError ")
        assert str(b.pid) in text
        with pytest.raises(ChannelClosedError, match=r"worker 2 .* disconnected before it replied"):
            await waiting
        await b.wait_gone()
        with pytest.raises(ChannelClosedError, match=r"worker 2 .* is gone"):
            await b.request("anybody?")
        with pytest.raises(ChannelClosedError):
            await b.send("anybody?")
        assert await c.request("and you?") == ["and you?", os.getpid()]


async def test_a_stopped_worker_times_out_and_holds_up_nobody() -> None:
    async with party(2) as all:
        a, b = all.workers
        for worker in all.workers:
            await worker._session.run(inside.answer, [])
        b.kill(signal.SIGSTOP)
        await is_stopped(b)
        late = [asyncio.ensure_future(b.request(n, timeout=0.1)) for n in range(10)]
        for n in range(100):
            assert await a.request(n) == [n, os.getpid()]
        for request in late:
            with pytest.raises(TimeoutError):
                await request
        b.kill(signal.SIGCONT)
        assert await b.request("again") == ["again", os.getpid()]
