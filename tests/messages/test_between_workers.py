"""Messages from worker to worker and to the primary: who gets them, in which order, and what bad ones get."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from aiocluster import RemoteError, WorkerNotFoundError

from . import inside
from .party import party


async def test_a_message_goes_to_the_worker_of_that_pid_alone() -> None:
    async with party(3) as all:
        a, b, c = all.workers
        for worker in (b, c):
            await worker._session.run(inside.hear, ["message"])
        await a._session.run(inside.send_to, [b.pid, "for b", None, {"n": [1, b"2"]}])
        await a._session.run(inside.send_to, [c.pid, "for c"])
        assert await b._session.run(inside.heard_messages, [3]) == [
            [a.pid, "for b", 0],
            [a.pid, None, 0],
            [a.pid, {"n": [1, b"2"]}, 0],
        ]
        assert await c._session.run(inside.heard_messages, [1]) == [[a.pid, "for c", 0]]
        assert await b._session.run(inside.how_many, ["message"]) == 3
        assert all.events == []


async def test_messages_of_one_sender_keep_their_order() -> None:
    async with party(3) as all:
        a, b, c = all.workers
        await c._session.run(inside.count, [])
        await a._session.run(inside.start, ["send_numbers", c.pid, 0, 5000, 50])
        await b._session.run(inside.start, ["send_numbers", c.pid, 0, 5000, 500])
        assert await c._session.run(inside.counted, [10_000])


async def test_the_primary_is_a_receiver_too() -> None:
    async with party(2) as all:
        a, b = all.workers
        await a._session.run(inside.send, ["by send"])
        await b._session.run(inside.send_to, [os.getpid(), "by its pid"])
        by_send, by_pid = await all.hears("message", 2)
        assert (by_send.sender, by_send.message, by_send.handles, by_send.worker) == (a.pid, "by send", (), a)
        assert (by_pid.sender, by_pid.message, by_pid.worker) == (b.pid, "by its pid", b)


async def test_the_primary_sends_to_one_or_to_all() -> None:
    async with party(2) as all:
        a, b = all.workers
        for worker in all.workers:
            await worker._session.run(inside.hear, ["message"])
        await a.send("by the worker")
        await all.primary.send(a.pid, "by its pid")
        await all.primary.broadcast("for all")
        primary = os.getpid()
        assert await a._session.run(inside.heard_messages, [3]) == [
            [primary, "by the worker", 0],
            [primary, "by its pid", 0],
            [primary, "for all", 0],
        ]
        assert await b._session.run(inside.heard_messages, [1]) == [[primary, "for all", 0]]
        with pytest.raises(WorkerNotFoundError):
            await all.primary.send(1, "for nobody")


async def test_broadcast_goes_to_every_other_worker() -> None:
    async with party(3) as all:
        a, *others = all.workers
        for worker in all.workers:
            await worker._session.run(inside.hear, ["message"])
        await a._session.run(inside.broadcast, ["one", b"x" * 100_000, "three"])
        for worker in others:
            assert await worker._session.run(inside.heard_messages, [3]) == [
                [a.pid, "one", 0],
                [a.pid, b"x" * 100_000, 0],
                [a.pid, "three", 0],
            ]
        await others[0]._session.run(inside.send_to, [a.pid, "the first that a hears"])
        assert await a._session.run(inside.heard_messages, [1]) == [[others[0].pid, "the first that a hears", 0]]
        assert all.heard("message") == []


async def test_a_broadcast_without_others_goes_to_nobody() -> None:
    async with party(1) as all:
        await all.workers[0]._session.run(inside.broadcast, ["alone"])


async def test_send_random_goes_to_one_of_the_others() -> None:
    async with party(3) as all:
        a, b, c = all.workers
        for worker in (b, c):
            await worker._session.run(inside.hear, ["message"])
        await a._session.run(inside.send_random, [60])
        for worker in (b, c):  # what was sent before a request arrives before it
            await a._session.run(inside.send_to, [worker.pid, "last"])
        shares: Counter[int] = Counter()
        heard = []
        for worker in (b, c):
            while True:
                shares[worker.pid] += 1
                message = (await worker._session.run(inside.heard_messages, [shares[worker.pid]]))[-1][1]
                if message == "last":
                    break
                heard.append(message)
        assert sorted(heard) == list(range(60))
        assert min(shares.values()) > 1


async def test_send_random_without_others() -> None:
    async with party(1) as all:
        text = await all.workers[0]._session.run(inside.catch, ["send_random", "alone"])
        assert text.startswith("WorkerNotFoundError ")


async def test_peers_are_always_current() -> None:
    async with party(2) as all:
        a, b = all.workers
        assert await a._session.run(inside.peers, []) == [b.pid]
        assert await b._session.run(inside.peers, []) == [a.pid]
        c = await all.primary.fork()
        await c.wait_for("online")
        assert await a._session.run(inside.peers, []) == sorted([b.pid, c.pid])
        assert await c._session.run(inside.peers, []) == sorted([a.pid, b.pid])
        b.kill(9)
        await b.wait_gone()
        assert await a._session.run(inside.peers, []) == [c.pid]
        assert await c._session.run(inside.peers, []) == [a.pid]
        await c.disconnect()
        assert await a._session.run(inside.peers, []) == []


async def test_an_unknown_pid_is_told_at_once() -> None:
    async with party(2) as all:
        a, b = all.workers
        b.kill(9)
        await b.wait_gone()
        for pid in (b.pid, a.pid, 1, "an agent"):
            for method in ("send_to", "request_to"):
                text = await a._session.run(inside.catch, [method, pid, "for nobody"])
                assert text.startswith("WorkerNotFoundError ")
                assert " LookupError " in text
                assert repr(pid) in text


async def test_what_no_message_may_hold_is_refused_with_its_place() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.hear, [])
        told = await a._session.run(inside.catch_unpackable, [b.pid])
        assert told == ['SerializationError: message["user"]["tags"][2]: set'] * 6
        await a._session.run(inside.send_to, [b.pid, "after"])
        assert await b._session.run(inside.heard_messages, [1]) == [[a.pid, "after", 0]]
        assert all.events == []


@pytest.mark.parametrize("handler", [inside.raise_at, inside.raise_late_at])
async def test_a_handler_that_raises_is_told_of_and_stops_nothing(
    handler: object, capfd: pytest.CaptureFixture[str]
) -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(handler, [2])  # type: ignore[arg-type]
        await b._session.run(inside.hear, [])
        await a._session.run(inside.send_to, [b.pid, 1, 2, 3])
        assert [message for _, message, _ in await b._session.run(inside.heard_messages, [3])] == [1, 2, 3]
        assert await b._session.run(inside.heard_errors, [1]) == ["ValueError: no 2 please"]
    assert "ValueError: no 2 please" in capfd.readouterr().err  # logging's last resort


async def test_a_handler_in_the_primary_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    async with party(1) as all:

        @all.primary.on("message")
        def fails(event: object) -> None:
            raise ValueError("no, thank you")

        await all.workers[0]._session.run(inside.send, [1])
        await all.workers[0]._session.run(inside.send, [2])
        assert [event.message for event in await all.hears("message", 2)] == [1, 2]
        errors = await all.hears("error", 2)
        assert [(event.worker, str(event.error)) for event in errors] == [(all.workers[0], "no, thank you")] * 2
    errors_logged = [record.name for record in caplog.records if record.levelname == "ERROR"]
    assert errors_logged == ["aiocluster.events"] * 2


async def test_messages_come_one_by_one_from_messages() -> None:
    async with party(2) as all:
        a, b = all.workers
        taking = b._session.run(inside.take_messages, [300])
        await a._session.run(inside.send_to, [b.pid, *range(100)])
        await all.primary.send(b.pid, "from the primary")
        await a._session.run(inside.send_to, [b.pid, *range(100, 299)])
        taken = await taking
        assert [message for message in taken if message != "from the primary"] == list(range(299))
        assert len(taken) == 300


async def test_what_comes_before_anybody_asks_is_kept() -> None:
    async with party(2) as all:
        a, b = all.workers
        await a._session.run(inside.send_to, [b.pid, *range(50)])
        with pytest.raises(RemoteError, match="handle_requests"):
            await a._session.run(inside.request_to, [b.pid, "has it all arrived?"])
        await b._session.run(inside.hear, ["message"])
        assert [message for _, message, _ in await b._session.run(inside.heard_messages, [50])] == list(range(50))
