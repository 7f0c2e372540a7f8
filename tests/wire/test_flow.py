"""SendWindow and ReceiveWindow over a real channel: bounded, in order, confirmed, and whole whatever is cancelled."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import groupby

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiocluster._wire import frames as kinds
from aiocluster._wire.codec import RawFrame, pack, unpack, unpack_batch
from aiocluster._wire.descriptors import Descriptors
from aiocluster._wire.flusher import flusher
from aiocluster._wire.windows import FRAGMENT, WINDOW, Ancillary, ReceiveWindow, SendWindow, send_to_all
from aiocluster.errors import ChannelClosedError, ProtocolError
from tests.support.turns import turns

from .ends import End, Pair, contents, marked

PEER = 4711
LARGE = b"L" * (5 * WINDOW)


def nothing() -> None:
    pass


class Stream:
    """An SendWindow at one end of a channel, an ReceiveWindow at the other.

    While it is paused, the ReceiveWindow does not come to hear of frames, as when its process is stopped.
    """

    def __init__(self, here: End, there: End) -> None:
        self.here, self.there = here, there
        self.out = SendWindow(here.channel, PEER, "the receiver")
        self.receive_window = ReceiveWindow(there.channel, PEER)
        self.bodies: list[bytes] = []  # whole messages, as they arrived
        self.kinds: list[int] = []  # of each frame that is no ACK
        self.confirms: list[int] = []
        self._waiting: list[RawFrame] = []
        self.is_paused = False

    def hear_here(self, frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        kind, peer, number, body = frame
        assert (kind, peer, body) == (kinds.ACK, PEER, b"")
        self.confirms.append(number)
        self.out.acked(number)

    def hear_there(self, frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        if frame[0] == kinds.HANDLES:
            self.there.contents.append([contents(fd) for fd in take().take()])
        if self.is_paused:
            self._waiting.append(frame)
        else:
            self._handle(frame)

    def _handle(self, frame: RawFrame) -> None:
        kind, peer, number, body = frame
        assert peer == PEER
        self.kinds.append(kind)
        whole = self.receive_window.accept(kind, body)
        if whole is None:
            return
        if kind == kinds.MESSAGES:
            self.bodies.extend(map(pack, unpack_batch(whole, number)))
        else:
            self.bodies.append(whole)

    def resume(self) -> None:
        self.is_paused = False
        waiting, self._waiting = self._waiting, []
        for frame in waiting:
            self._handle(frame)
        self.there._changed.set()

    async def hears(self, count: int) -> list[bytes]:
        await self.there.until(lambda: len(self.bodies) >= count)
        return self.bodies[:count]

    async def all_confirmed(self) -> None:
        """Returns when each frame that has arrived has been confirmed."""
        await self.here.until(lambda: (self.confirms or [0])[-1] == len(self.kinds))


@asynccontextmanager
async def stream() -> AsyncIterator[Stream]:
    pair = Pair()
    with pair as (here, there):
        one = Stream(here, there)
        here._hear, there._hear = one.hear_here, one.hear_there
        here.attach(), there.attach()
        yield one


async def fill(one: Stream) -> list[bytes]:
    """Sends small messages until the window is full."""
    sent = [message(number, 1000) for number in range(2 * WINDOW // 1000)]
    return list(itertools.takewhile(one.out.put, sent))


def message(number: int, size: int = 100) -> bytes:
    return pack([number, b"x" * size])


# ---- what arrives


@pytest.fixture
def without_flusher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread sends what a turn has queued that takes longer than a few milliseconds, and so cuts its frame."""
    monkeypatch.setattr(flusher, "look_after", lambda queue: None)


@pytest.mark.usefixtures("without_flusher")
async def test_messages_of_one_turn_arrive_as_one_frame() -> None:
    async with stream() as one:
        sent = [message(number) for number in range(50)]
        for body in sent:
            await one.out.send(body)
        assert await one.hears(50) == sent
        assert one.kinds == [kinds.MESSAGES]


@pytest.mark.usefixtures("without_flusher")
async def test_a_frame_of_messages_grows_to_a_piece_or_two() -> None:
    async with stream() as one:
        sent = await fill(one)
        await one.hears(len(sent))
        assert all(len(frame[3]) <= 2 * FRAGMENT for frame in one.there.frames)
        assert WINDOW // FRAGMENT / 2 <= len(one.there.frames) <= WINDOW // FRAGMENT + 2


@given(st.lists(st.integers(0, 300_000), max_size=20))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_messages_of_any_size_arrive_in_order(sizes: list[int]) -> None:
    async with stream() as one:
        sent = [message(number, size) for number, size in enumerate(sizes)]
        async with asyncio.TaskGroup() as senders:
            for body in sent:
                senders.create_task(one.out.send(body))
        assert await one.hears(len(sent)) == sent
        await one.all_confirmed()


@pytest.mark.parametrize(
    "size", [FRAGMENT - 10, FRAGMENT - 5, FRAGMENT, FRAGMENT + 1, 2 * FRAGMENT, 2 * FRAGMENT + 1, 3_000_000]
)
async def test_a_message_arrives_whole_whatever_its_size(size: int) -> None:
    async with stream() as one:
        body = pack(os.urandom(size))
        await one.out.send(body)
        assert await one.hears(1) == [body]
        assert all(len(frame[3]) <= FRAGMENT for frame in one.there.frames)
        await one.all_confirmed()


async def test_frames_of_other_kinds_stay_in_order_with_messages() -> None:
    async with stream() as one:
        sent = [message(number) for number in range(4)]
        fd = marked(b"mark")
        await one.out.send(sent[0])
        await one.out.send_frame(kinds.REQUEST, 7, sent[1])
        await one.out.send_frame(kinds.HANDLES, 1, sent[2], Ancillary((fd,), lambda: os.close(fd), nothing))
        await one.out.send(sent[3])
        assert await one.hears(4) == sent
        in_order = [kind for kind, _ in groupby(one.kinds)]  # the flusher may cut one in two
        assert in_order == [kinds.MESSAGES, kinds.REQUEST, kinds.HANDLES, kinds.MESSAGES]
        assert one.there.contents == [[b"mark"]]


async def test_a_large_frame_brings_its_descriptors_with_its_end() -> None:
    async with stream() as one:
        fd = marked(b"mark")
        body = pack(b"x" * 200_000)
        await one.out.send_frame(kinds.HANDLES, 1, body, Ancillary((fd,), lambda: os.close(fd), nothing))
        assert await one.hears(1) == [body]
        assert one.kinds == [*[kinds.FRAGMENT] * ((len(body) - 1) // FRAGMENT), kinds.HANDLES]
        assert one.there.contents == [[b"mark"]]


# ---- the window


async def test_a_full_window_blocks_and_a_confirmation_resumes() -> None:
    async with stream() as one:
        one.is_paused = True
        sent = await fill(one)
        waiting = asyncio.ensure_future(one.out.send(message(-1)))
        await turns(20)
        assert not waiting.done()
        assert WINDOW * 0.9 < len(b"".join(sent)) < WINDOW + 2 * FRAGMENT
        assert not one.out.put(message(-2))
        one.resume()
        await waiting
        assert await one.hears(len(sent) + 1) == [*sent, message(-1)]
        await one.all_confirmed()


async def test_a_stopped_receiver_bounds_what_is_under_way_even_of_empty_messages() -> None:
    async with stream() as one:
        one.is_paused = True
        count = len(list(itertools.takewhile(one.out.put, [pack(None)] * WINDOW)))
        assert count <= WINDOW // 30
        one.resume()
        await one.hears(count)
        await one.all_confirmed()


async def test_senders_that_wait_go_on_in_the_order_they_came() -> None:
    async with stream() as one:
        one.is_paused = True
        sent = await fill(one)
        late = [message(1000 + number, 20_000 * (number % 3)) for number in range(30)]
        tasks = [asyncio.ensure_future(one.out.send(body)) for body in late]
        await turns()
        one.resume()
        await asyncio.gather(*tasks)
        assert await one.hears(len(sent) + 30) == [*sent, *late]


async def test_nobody_overtakes_those_who_wait() -> None:
    """Not even one that comes in the very turn in which there is room again."""
    async with stream() as one:
        one.is_paused = True
        sent = await fill(one)
        early = [message(1000 + number) for number in range(5)]
        tasks = [asyncio.ensure_future(one.out.send(body)) for body in early]
        await turns()
        late: list[bytes] = []
        one.resume()
        while not all(task.done() for task in tasks):
            late.append(message(2000 + len(late)))
            tasks.append(asyncio.ensure_future(one.out.send(late[-1])))
            await asyncio.sleep(0)
            if len(late) > 20:
                break
        await asyncio.gather(*tasks)
        everything = [*sent, *early, *late]
        assert await one.hears(len(everything)) == everything


async def test_a_slow_receiver_holds_up_no_other() -> None:
    async with stream() as slow, stream() as quick:
        slow.is_paused = True
        sent = await fill(slow)
        broadcast = asyncio.ensure_future(send_to_all([slow.out, quick.out], message(1)))
        assert await quick.hears(1) == [message(1)]
        assert not broadcast.done()
        slow.resume()
        await broadcast
        assert (await slow.hears(len(sent) + 1))[-1] == message(1)


async def test_a_broadcast_leaves_out_who_is_gone_and_waits_for_the_others() -> None:
    async with stream() as gone, stream() as other:
        gone.out.close()
        await send_to_all([gone.out, other.out], message(1))
        await send_to_all([other.out, gone.out], message(2, 200_000))
        assert await other.hears(2) == [message(1), message(2, 200_000)]
        assert gone.bodies == []


# ---- cancellation


async def test_a_cancelled_wait_sends_nothing_and_lets_the_next_one_go_on() -> None:
    async with stream() as one:
        one.is_paused = True
        sent = await fill(one)
        first, second, third = (asyncio.ensure_future(one.out.send(message(-number))) for number in (1, 2, 3))
        await turns()
        first.cancel()
        second.cancel()
        await turns()
        assert first.cancelled()
        assert second.cancelled()
        one.resume()
        await third
        await one.out.send(message(-4))
        assert await one.hears(len(sent) + 2) == [*sent, message(-3), message(-4)]
        await one.all_confirmed()


async def test_the_last_one_waiting_leaves_the_way_free_when_it_is_cancelled() -> None:
    async with stream() as one:
        one.is_paused = True
        sent = await fill(one)
        waiting = asyncio.ensure_future(one.out.send(message(-1)))
        await turns()
        waiting.cancel()
        await turns()
        one.resume()
        await one.all_confirmed()
        assert one.out.put(message(-2))  # the quick way, without a turn of the loop
        assert await one.hears(len(sent) + 1) == [*sent, message(-2)]


async def test_a_large_message_cancelled_in_the_middle_leaves_the_stream_whole() -> None:
    async with stream() as one:
        one.is_paused = True
        large = asyncio.ensure_future(one.out.send(pack(LARGE)))
        await turns(10)
        assert not large.done()
        behind = asyncio.ensure_future(one.out.send(message(1)))
        await turns()
        large.cancel()
        await turns()
        assert large.cancelled()
        one.resume()
        await behind
        await one.out.send(pack(b"y" * 200_000))
        assert await one.hears(2) == [message(1), pack(b"y" * 200_000)]
        assert kinds.DISCARD in one.kinds
        await one.all_confirmed()


async def test_a_large_message_cancelled_before_its_first_part_needs_no_discard() -> None:
    async with stream() as one:
        one.is_paused = True
        sent = await fill(one)
        large = asyncio.ensure_future(one.out.send(pack(LARGE)))
        await turns()
        large.cancel()
        await turns()
        one.resume()
        await one.out.send(message(1))
        await one.hears(len(sent) + 1)
        assert set(one.kinds) == {kinds.MESSAGES}


@given(st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 30)), min_size=1, max_size=8), st.randoms())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_cancelled_the_others_arrive_in_order(plan: list[tuple[int, int]], random: object) -> None:
    """Each message is sent by a task that is cancelled after some turns, or (after 20) never."""
    async with stream() as one:
        tasks = {}
        for number, (size, _) in enumerate(plan):
            tasks[number] = asyncio.ensure_future(one.out.send(message(number, size)))
        for turn in range(21):
            for number, (_, cancelled_after) in enumerate(plan):
                if cancelled_after == turn:
                    tasks[number].cancel()
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
        expected = [number for number, result in enumerate(results) if result is None]
        await one.out.send(message(-1))
        await one.there.until(lambda: bool(one.bodies) and one.bodies[-1] == message(-1))
        assert [unpack(body)[0] for body in one.bodies] == [*expected, -1]
        await one.all_confirmed()


async def test_descriptors_of_a_cancelled_send_are_released_once() -> None:
    async with stream() as one:
        one.is_paused = True
        await fill(one)
        released: list[int] = []
        waiting = asyncio.ensure_future(
            one.out.send_frame(kinds.HANDLES, 1, message(1), Ancillary((0,), lambda: released.append(1), nothing))
        )
        await turns()
        waiting.cancel()
        await turns()
        assert waiting.cancelled()
        assert released == [1]
        one.resume()
        await one.all_confirmed()


# ---- confirmations


async def test_confirmations_are_batched_and_count_from_the_beginning() -> None:
    async with stream() as one:
        for number in range(100):
            await one.out.send_frame(kinds.REQUEST, number, message(number))
        await one.hears(100)
        await one.all_confirmed()
        assert one.confirms == [100]
        await one.out.send(message(1))
        await one.here.until(lambda: len(one.confirms) > 1)
        assert one.confirms == [100, 101]


async def test_what_is_held_is_confirmed_only_when_it_is_let_go() -> None:
    async with stream() as one:
        holds: list[Callable[[], None]] = []
        handle = one._handle

        def handle_and_hold(frame: RawFrame) -> None:
            handle(frame)
            holds.append(one.receive_window.hold())
            holds.append(one.receive_window.hold())

        one._handle = handle_and_hold  # type: ignore[method-assign]
        for number in range(3):
            await one.out.send_frame(kinds.REQUEST, number, message(number))
        await one.hears(3)
        await turns(5)
        assert one.confirms == []
        holds[2](), holds[3]()  # the second frame's: the first still holds it back
        await turns(5)
        assert one.confirms == []
        holds[0]()
        await turns(5)
        assert one.confirms == []
        holds[1]()
        await one.here.until(lambda: bool(one.confirms))
        assert one.confirms == [2]
        holds[4](), holds[5]()
        await one.all_confirmed()
        assert one.confirms == [2, 3]


async def test_confirming_more_than_was_sent_is_a_protocol_error() -> None:
    with Pair() as (here, _):
        here.attach()
        out = SendWindow(here.channel, PEER, "the receiver")
        await out.send(message(1))
        out.acked(1)
        with pytest.raises(ProtocolError, match=r"^2 frames acknowledged, of 1 sent$"):
            out.acked(2)


@pytest.mark.parametrize("frames", [0, -1])
async def test_confirming_less_than_before_is_a_protocol_error(frames: int) -> None:
    with Pair() as (here, _):
        here.attach()
        out = SendWindow(here.channel, PEER, "the receiver")
        await out.send(message(1))
        out.acked(1)
        out.acked(1)
        with pytest.raises(ProtocolError):
            out.acked(frames)


# ---- hostile parts


async def test_parts_longer_together_than_a_message_are_a_protocol_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocluster._wire.windows.MAX_MESSAGE", 4 * FRAGMENT)
    with Pair() as (here, _):
        receive_window = ReceiveWindow(here.channel, PEER)
        with pytest.raises(ProtocolError, match="over the limit"):
            for _ in range(3):
                assert receive_window.accept(kinds.FRAGMENT, b"x" * 3 * FRAGMENT) is None


async def test_parts_of_nothing_are_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocluster._wire.windows.MAX_MESSAGE", 4 * FRAGMENT)
    with Pair() as (here, _):
        receive_window = ReceiveWindow(here.channel, PEER)
        with pytest.raises(ProtocolError, match="over the limit"):
            for _ in range(10):
                assert receive_window.accept(kinds.FRAGMENT, b"") is None


async def test_a_discard_without_parts_is_nothing() -> None:
    with Pair() as (here, _):
        here.attach()
        receive_window = ReceiveWindow(here.channel, PEER)
        assert receive_window.accept(kinds.DISCARD, b"") is None
        assert receive_window.accept(kinds.MESSAGES, b"x") == b"x"


# ---- the end


async def test_close_returns_what_was_not_confirmed_in_order() -> None:
    async with stream() as one:
        await one.out.send(message(0))
        await one.hears(1)
        await one.all_confirmed()
        one.is_paused = True
        sent = [message(number) for number in range(1, 40)]
        for number, body in enumerate(sent):
            await one.out.send(body)
            if number % 10 == 0:
                await turns()
            if number == 20:
                fd = marked(b"x")
                await one.out.send_frame(
                    kinds.HANDLES, 1, message(-1), Ancillary((fd,), partial(os.close, fd), nothing)
                )
                await one.out.send_frame(kinds.REQUEST, 1, message(-2))
        large = pack(b"x" * 100_000)
        await one.out.send(large)
        returned = one.out.close()
        assert returned == [*sent[:21], message(-1), *sent[21:], large]
        assert one.out.close() == []


async def test_close_returns_a_large_message_only_if_it_was_sent_whole() -> None:
    async with stream() as one:
        one.is_paused = True
        await one.out.send(message(1))
        large = asyncio.ensure_future(one.out.send(pack(LARGE)))
        await turns(10)
        assert one.out.close() == [message(1)]
        with pytest.raises(ChannelClosedError, match=r"^the receiver is gone$"):
            await large


async def test_close_wakes_all_who_wait() -> None:
    async with stream() as one:
        one.is_paused = True
        sent = await fill(one)
        released: list[int] = []
        waiting = [asyncio.ensure_future(one.out.send(message(number))) for number in range(3)]
        waiting.append(
            asyncio.ensure_future(
                one.out.send_frame(kinds.HANDLES, 1, message(4), Ancillary((0,), lambda: released.append(1), nothing))
            )
        )
        await turns()
        assert one.out.close() == sent
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [ChannelClosedError] * 4
        assert released == [1]
        with pytest.raises(ChannelClosedError):
            await one.out.send(message(1))
        one.out.put_control(kinds.CANCEL, 1)


# ---- loops


def test_a_flow_goes_on_on_another_loop() -> None:
    """A worker may run one loop after the other, and stop one with senders waiting and confirmations due."""

    async def leave() -> list[bytes]:
        here.attach(), there.attach()
        one.is_paused = True
        sent = await fill(one)
        waiting = [asyncio.ensure_future(one.out.send(message(number))) for number in (0, 1)]
        await turns(10)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        asyncio.get_running_loop().call_soon(one.resume)  # in the last turn of this loop
        # Room may have come meanwhile, from the loop before.
        return sent + [message(number) for number, task in enumerate(waiting) if not task.cancelled()]

    async def go_on(number: int) -> list[bytes]:
        here.attach(), there.attach()
        one.is_paused = True
        tasks = [asyncio.ensure_future(one.out.send(message(number, 200_000))) for number in range(3)]
        await turns()
        one.resume()
        await asyncio.gather(*tasks)
        return [message(number, 200_000) for number in range(3)]

    with Pair() as (here, there):
        one = Stream(here, there)
        here._hear, there._hear = one.hear_here, one.hear_there
        sent: list[bytes] = []
        for program in (leave(), go_on(1), leave(), go_on(2), go_on(3)):
            loop = asyncio.new_event_loop()
            sent += loop.run_until_complete(program)
            here.channel.detach()
            there.channel.detach()
            loop.close()
        assert one.bodies[: len(sent) - 3] == sent[:-3]
