"""A receiver that does not read slows down what is sent to it, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import statistics
import time

import psutil
import pytest

from aiocluster import RemoteError
from aiocluster._wire import windows
from aiocluster._wire.windows import WINDOW

from . import inside
from .party import Party, is_stopped, party, until

MEBIBYTE = 1024 * 1024


async def stop_last(all: Party) -> None:
    """Stops the last worker, as a program that hangs would be."""
    all.workers[-1].kill(signal.SIGSTOP)
    await is_stopped(all.workers[-1])


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


async def test_a_stopped_receiver_slows_no_other_flow() -> None:
    """The rate from a to b, alone and beside a flood from a to c, who is stopped: in turn, several times."""
    async with party(3) as all:
        a, b, c = all.workers
        await b._session.run(inside.count, [])
        await b._session.run(inside.answer_when_counted, [])
        await stop_last(all)
        sent = 0

        async def seconds() -> float:
            nonlocal sent
            first, sent = sent, sent + 20_000
            return float(await a._session.run(inside.echo_speed, [b.pid, first, sent]))

        await seconds()  # until both are warm
        ratios = []
        for _ in range(7):
            alone = await seconds()
            flood = asyncio.ensure_future(a._session.run(inside.flood, [c.pid]))
            await seconds()  # until the window is full: from then on it is the receiver that is slow
            beside = await seconds()
            flood.cancel()
            await asyncio.wait([flood])
            ratios.append(alone / beside)
        assert await b._session.run(inside.counted, [sent])
        print(f"rate beside a flood to a stopped worker: {statistics.median(ratios):.2f} ({sorted(ratios)})")
        assert statistics.median(ratios) >= 0.5  # it would be next to nothing
        c.kill(signal.SIGCONT)


async def test_a_stopped_receiver_costs_the_primary_a_window_or_two() -> None:
    """Three workers and the primary flood a stopped one with all there is, and the others go on."""
    async with party(4) as all:
        *senders, stopped = all.workers
        for worker in senders:
            await worker._session.run(inside.answer, [])
        await stop_last(all)
        before = resident()
        floods = [asyncio.ensure_future(worker._session.run(inside.flood, [stopped.pid])) for worker in senders]

        async def flood(body: bytes) -> None:
            while True:
                await stopped.send(body)

        floods += [asyncio.ensure_future(flood(b"x" * size)) for size in (100, 1000, MEBIBYTE)]
        most = 0
        for n in range(300):  # as heartbeats would
            for worker in senders:
                assert await worker.request(n) == [n, os.getpid()]
            if n % 10 == 0:
                most = max(most, resident())
        print(f"the primary grew by {(most - before) / MEBIBYTE:.1f} MiB")
        assert most - before < 64 * MEBIBYTE
        assert not any(task.done() for task in floods)
        for task in floods:
            task.cancel()
        await asyncio.wait(floods)
        stopped.kill(signal.SIGCONT)


async def test_a_stopped_receiver_costs_the_primary_few_descriptors() -> None:
    async with party(4) as all:
        *senders, stopped = all.workers
        await stop_last(all)
        before = psutil.Process().num_fds()
        floods = [
            asyncio.ensure_future(worker._session.run(inside.send_pairs, [stopped.pid, 5000])) for worker in senders
        ]
        for worker in senders:  # what it sent before it had to wait came before its answer
            await worker._session.run(inside.waits_for, [stopped.pid])
        held = psutil.Process().num_fds() - before
        print(f"the primary holds {held} descriptors")
        assert 0 < held < 500
        assert not any(task.done() for task in floods)
        stopped.kill(signal.SIGKILL)
        await stopped.wait_gone()
        for result in await asyncio.gather(*floods, return_exceptions=True):
            assert isinstance(result, RemoteError)
            assert result.type_name in {"aiocluster.errors.ChannelClosedError", "aiocluster.errors.WorkerNotFoundError"}
        await until(lambda: psutil.Process().num_fds() < before)


async def test_all_arrives_in_order_after_the_pause() -> None:
    async with party(3) as all:
        a, b, c = all.workers
        await c._session.run(inside.count, [])
        await stop_last(all)
        count, size = 8 * WINDOW // 1000, 1000
        floods = [
            asyncio.ensure_future(worker._session.run(inside.send_numbers, [c.pid, 0, count, size]))
            for worker in (a, b)
        ]

        async def flood() -> None:
            for n in range(count):
                await c.send([n, b"x" * size])

        floods.append(asyncio.ensure_future(flood()))
        assert not (await asyncio.wait(floods, timeout=0.2))[0]  # each has more than a window
        c.kill(signal.SIGCONT)
        await asyncio.gather(*floods)
        assert await c._session.run(inside.counted, [3 * count])


async def test_a_slow_loop_over_messages_slows_its_senders() -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.open_messages, [])
        sent = await a._session.run(inside.fill, [b.pid, 1000])
        assert WINDOW // 1100 <= sent <= 2 * WINDOW // 1000
        assert not await a._session.run(inside.is_done, [])
        assert await b._session.run(inside.next_messages, [sent // 2]) == list(range(sent // 2))
        assert await a._session.run(inside.how_it_ended, []) == "returned None"
        assert await b._session.run(inside.next_messages, [sent - sent // 2 + 1]) == list(range(sent // 2, sent + 1))


@pytest.mark.parametrize("way", ["handler", "messages", "requests"])
@pytest.mark.parametrize("size", [10, 3000, 300_000])
async def test_two_that_flood_each_other_do_not_deadlock(way: str, size: int) -> None:
    count = max(20, min(3000, 6 * WINDOW // size))
    async with party(2) as all:
        a, b = all.workers
        for worker in all.workers:
            await worker._session.run(inside.echo, [])
        of_a, of_b = await asyncio.gather(
            a._session.run(inside.flood_each_other, [b.pid, count, size, way]),
            b._session.run(inside.flood_each_other, [a.pid, count, size, way]),
        )
        assert of_a == of_b == count


async def test_a_loop_over_messages_may_ask_their_sender() -> None:
    """The primary has sent more than a window, and answers requests all the same."""
    async with party(1) as all:
        (a,) = all.workers
        all.primary.handle_requests(lambda message, sender: message)
        count = 4 * WINDOW // 10_000

        async def flood() -> None:
            for n in range(count):
                await a.send([n, b"x" * 10_000])

        flooding = asyncio.ensure_future(flood())
        assert await a._session.run(inside.ask_about_each, [count]) == list(range(count))
        await flooding


@pytest.mark.parametrize("size", [10, 10 * WINDOW])
async def test_a_cancelled_send_leaves_the_stream_whole(size: int) -> None:
    async with party(2) as all:
        a, b = all.workers
        await b._session.run(inside.hear, [])
        await stop_last(all)
        waiting = await a._session.run(inside.fill, [b.pid])
        for _ in range(3):
            assert not await a._session.run(inside.send_and_cancel, [b.pid, size])
        b.kill(signal.SIGCONT)
        assert await a._session.run(inside.how_it_ended, []) == "returned None"
        for _ in range(3):  # now in the middle of it, or not at all
            await a._session.run(inside.send_and_cancel, [b.pid, 4 * WINDOW])
            await a._session.run(inside.send_and_cancel, [b.pid, 10])
        await a._session.run(inside.send_numbers, [b.pid, waiting + 1, waiting + 100])
        heard = await b._session.run(inside.heard_until, [waiting + 99])
        assert [n for n in heard if n >= 0] == list(range(waiting + 100))
        assert all.events == []


async def test_a_cancelled_send_of_the_primary_leaves_the_stream_whole() -> None:
    async with party(1) as all:
        (a,) = all.workers
        await a._session.run(inside.hear, [])
        for n in range(20):
            large = asyncio.ensure_future(a.send([-1, b"x" * 20 * WINDOW]))
            for _ in range(n):
                await asyncio.sleep(0)
            large.cancel()
            small = asyncio.ensure_future(a.send([n, b""]))
            await asyncio.wait([large, small])
        assert await a._session.run(inside.heard_until, [19]) == list(range(20))


def sleep() -> None:
    """A target without an event loop."""
    time.sleep(3600)


@pytest.mark.parametrize("how", ["no loop", "stopped"])
async def test_a_message_to_all_does_not_wait_for_ever(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that acknowledges nothing gets no more; the others get all, and one that wakes up gets later ones."""
    monkeypatch.setattr(windows, "PATIENCE", 1.0)
    async with party(2) as all:
        hearing, deaf = all.workers
        await hearing._session.run(inside.count, [])
        if how == "stopped":
            await stop_last(all)
        else:
            await deaf.disconnect()
            all.primary.setup(target=sleep)
            deaf = await all.primary.fork()
            await deaf.wait_for("online")
        for n in range(40):
            await all.primary.broadcast([n, "x" * 30_000])
        assert await hearing._session.run(inside.counted, [40])
        dropped = [record.getMessage() for record in caplog.records if record.name == "aiocluster.messages"]
        assert len(dropped) == 1
        assert dropped[0].startswith(f"dropped a message to all for worker {deaf.id}")
        if how == "stopped":
            deaf.kill(signal.SIGCONT)
            await deaf._session.run(inside.is_awake, [])
        else:
            deaf.kill(signal.SIGKILL)
