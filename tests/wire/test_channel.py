"""Channel: both ends of a socketpair in one loop, and every way it may end."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiocluster._wire.channel import Channel
from aiocluster._wire.codec import RawFrame, encode
from aiocluster._wire.descriptors import MAX_DESCRIPTORS, Descriptors
from aiocluster.errors import ChannelClosedError, ProtocolError
from tests.support.turns import turns

from .conftest import LOOPS
from .ends import End, Pair, contents, marked, socket_pair

PLAIN = 1
CARRYING = End.WITH_DESCRIPTORS
ROOT = Path(__file__).parents[2]


def carrying(*marks: bytes) -> tuple[bytes, list[int], Callable[[], None]]:
    """The arguments of ``send`` for a frame with descriptors, which are closed once they have left."""
    fds = [marked(mark) for mark in marks]

    def release() -> None:
        while fds:
            os.close(fds.pop())

    return encode(CARRYING, len(marks)), fds, release


class Releases:
    """Counts how often each frame's ``release`` is called."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def add(self) -> Callable[[], None]:
        number = len(self.counts)
        self.counts.append(0)

        def release() -> None:
            self.counts[number] += 1

        return release


def fill(end: End, size: int = 64 * 1024) -> int:
    """Queues far more than a socket holds; says how many frames that are."""
    count = 8 * 1024 * 1024 // size
    for number in range(count):
        end.channel.send(encode(PLAIN, number, b"x" * size))
    return count


# ---- frames


async def test_frames_arrive_in_order_both_ways() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        for number in range(1000):
            here.channel.send(encode(PLAIN, number))
            there.channel.send(encode(PLAIN, -number))
        assert await there.hears(1000) == [[PLAIN, number] for number in range(1000)]
        assert await here.hears(1000) == [[PLAIN, -number] for number in range(1000)]


async def test_the_frames_of_one_turn_leave_in_one_system_call() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        for number in range(100):
            here.channel.send(encode(PLAIN, number))
        assert here.sock.sends == 0
        await there.hears(100)
        assert here.sock.sends == 1
        assert there.sock.receives == 1


async def test_a_lone_frame_leaves_in_the_same_turn() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        for number in range(20):
            here.channel.send(encode(PLAIN, number))
            await asyncio.sleep(0)
            assert here.sock.sends == number + 1


async def test_a_frame_that_is_sent_alone_has_left_when_the_call_returns() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        for number in range(20):
            here.channel.send_alone(encode(PLAIN, number))
            assert here.sock.sends == number + 1
        here.channel.send(encode(PLAIN, 20))
        here.channel.send_alone(encode(PLAIN, 21))  # with what is queued before it, which must not come later
        assert here.sock.sends == 21
        assert await there.hears(22) == [[PLAIN, number] for number in range(22)]
        await turns()
        assert here.sock.sends == 21


@given(st.lists(st.tuples(st.sampled_from(["send", "send_alone", "turn"]), st.integers(0, 500_000)), max_size=60))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_order_holds_whatever_is_sent_alone_and_however_full_the_socket_is(plan: list[tuple[str, int]]) -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        sent: list[RawFrame] = []
        for how, size in plan:
            if how == "turn":
                await asyncio.sleep(0)
            else:
                sent.append([PLAIN, len(sent), b"x" * size])
                getattr(here.channel, how)(encode(*sent[-1]))
        assert await there.hears(len(sent)) == sent


async def test_a_frame_that_is_sent_alone_to_an_end_that_is_gone_is_dropped() -> None:
    with Pair() as (here, there):
        here.attach()
        there.channel.close()
        here.channel.send_alone(encode(PLAIN, 1))
        assert await here.ended() is None
        with pytest.raises(ChannelClosedError):
            here.channel.send_alone(encode(PLAIN, 2))


async def test_replies_of_one_turn_leave_in_one_system_call_at_its_end() -> None:
    def reply(frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        there.channel.send(encode(PLAIN, frame[1]))

    with Pair(reply) as (here, there):
        here.attach(), there.attach()
        for number in range(100):
            here.channel.send(encode(PLAIN, number))
        assert await here.hears(100) == [[PLAIN, number] for number in range(100)]
        assert there.sock.sends == 1
        await turns()
        assert there.sock.sends == 1


async def test_what_was_sent_before_a_loop_was_attached_to_leaves_then() -> None:
    with Pair() as (here, there):
        here.channel.send(encode(PLAIN, 1))
        there.attach()
        here.attach()
        assert await there.hears(1) == [[PLAIN, 1]]


async def test_a_frame_may_be_rendered_when_it_leaves() -> None:
    class Late:
        text = "early"
        is_open = True

        def render(self) -> bytes:
            return encode(PLAIN, self.text)

        def render_early(self) -> bytes:
            return b""

    with Pair() as (here, there):
        here.attach(), there.attach()
        late = Late()
        here.channel.send(late)
        here.channel.send(encode(PLAIN, "second"))
        late.text = "late"
        assert await there.hears(2) == [[PLAIN, "late"], [PLAIN, "second"]]


async def test_a_full_socket_is_waited_for_and_written_on() -> None:
    with Pair() as (here, there):
        here.attach()
        count = fill(here)
        await turns()
        sends = here.sock.sends
        await turns(50)
        assert here.sock.sends == sends  # waiting costs nothing
        there.attach()
        here.channel.send(encode(PLAIN, "last"))
        frames = await there.hears(count + 1)
        assert [frame[1] for frame in frames] == [*range(count), "last"]
        await turns(50)
        sends = here.sock.sends
        await turns(50)
        assert here.sock.sends == sends  # no longer waiting for room


async def test_one_frame_larger_than_the_socket_arrives_whole() -> None:
    body = os.urandom(5 * 1024 * 1024)
    with Pair() as (here, there):
        here.attach(), there.attach()
        here.channel.send(encode(PLAIN, body))
        assert await there.hears(1) == [[PLAIN, body]]


@given(st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 3)), max_size=30))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_order_holds_for_any_mix_of_sizes_and_descriptors(plan: list[tuple[int, int]]) -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        for number, (size, descriptors) in enumerate(plan):
            body = b"x" * size
            if descriptors:
                _, fds, release = carrying(*(b"%d.%d" % (number, which) for which in range(descriptors)))
                here.channel.send(encode(CARRYING, number, body), fds, release)
            else:
                here.channel.send(encode(PLAIN, number, body))
            if size % 3 == 0:
                await asyncio.sleep(0)
        frames = await there.hears(len(plan))
        assert [list(frame[1:]) for frame in frames] == [[n, b"x" * size] for n, (size, _) in enumerate(plan)]
        assert there.contents == [
            [b"%d.%d" % (number, which) for which in range(descriptors)]
            for number, (_, descriptors) in enumerate(plan)
            if descriptors
        ]


# ---- descriptors


async def test_descriptors_arrive_with_their_frames_in_order() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        here.channel.send(encode(PLAIN, "before"))
        here.channel.send(*carrying(b"a"))
        here.channel.send(encode(PLAIN, "between"))
        here.channel.send(*carrying(b"b", b"c"))
        here.channel.send(*carrying(b"d"))
        here.channel.send(encode(PLAIN, "after"))
        frames = await there.hears(6)
        assert frames == [
            [PLAIN, "before"],
            [CARRYING, 1],
            [PLAIN, "between"],
            [CARRYING, 2],
            [CARRYING, 1],
            [PLAIN, "after"],
        ]
        assert there.contents == [[b"a"], [b"b", b"c"], [b"d"]]


async def test_one_frame_carries_as_many_descriptors_as_it_may() -> None:
    marks = [b"%d" % number for number in range(MAX_DESCRIPTORS)]
    with Pair() as (here, there):
        here.attach(), there.attach()
        for _ in range(2):
            here.channel.send(*carrying(*marks))
        await there.hears(2)
        assert there.contents == [marks, marks]


async def test_received_descriptors_are_not_inherited_by_children() -> None:
    inheritable: list[bool] = []

    def look(frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        descriptors = take()
        inheritable.extend(os.get_inheritable(fd) for fd in descriptors.peek())
        descriptors.close()

    with Pair(look) as (here, there):
        here.attach(), there.attach()
        here.channel.send(*carrying(b"a", b"b"))
        await there.hears(1)
    assert inheritable == [False, False]


async def test_descriptors_that_nobody_takes_out_are_closed_by_close() -> None:
    taken: list[Descriptors] = []
    with Pair(lambda frame, take: taken.append(take())) as (here, there):
        here.attach(), there.attach()
        here.channel.send(*carrying(b"a", b"b"))
        await there.hears(1)
    (descriptors,) = taken
    assert len(descriptors) == 2
    fds = descriptors.peek()
    descriptors.close()
    descriptors.close()
    assert len(descriptors) == 0
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


async def test_a_large_frame_keeps_its_descriptors() -> None:
    body = b"x" * 1_000_000
    with Pair() as (here, there):
        here.attach(), there.attach()
        for mark in (b"a", b"b"):
            _, fds, release = carrying(mark)
            here.channel.send(encode(CARRYING, 1, body), fds, release)
        await there.hears(2)
        assert there.contents == [[b"a"], [b"b"]]


async def test_a_frame_that_names_descriptors_that_did_not_come_is_a_protocol_error() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        here.channel.send(encode(CARRYING, 1))
        error = await there.ended()
        assert isinstance(error, ProtocolError)
        assert str(error) == "a frame names descriptors that did not come"
        assert there.channel.is_closed


async def test_descriptors_that_no_frame_names_are_a_protocol_error_and_closed() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        _, fds, release = carrying(b"a")
        here.channel.send(encode(PLAIN, 1), fds, release)
        error = await there.ended()
        assert isinstance(error, ProtocolError)
        assert str(error) == "descriptors came with a frame that names none"
        assert there.frames == [[PLAIN, 1]]


async def test_descriptors_that_come_with_every_byte_of_a_frame_are_a_protocol_error() -> None:
    with Pair() as (here, there):
        there.attach()
        for byte in encode(PLAIN, 1):
            _, fds, release = carrying(b"a")
            try:
                socket.send_fds(here.sock, [bytes([byte])], fds)
            except BrokenPipeError:
                break
            finally:
                release()
            await turns(5)
        assert isinstance(await there.ended(), ProtocolError)
        assert there.frames == []


WARNING = "descriptors have to wait: too many are in flight (ETOOMANYREFS, RLIMIT_NOFILE)\n"


@pytest.mark.parametrize(
    "program",
    [
        "out_of_descriptors",
        "too_many_in_flight",
        "too_many_in_flight_for_long",
        "too_many_in_flight_at_the_end",
        "too_many_in_flight_after_waiting",
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_limits_are_survived(program: str, loop: str) -> None:
    """In processes of their own, whose limits they lower."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.wire.limits", program, loop],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, "as it should\n"), done.stderr
    assert set(done.stderr.splitlines(keepends=True)) <= {WARNING}


# ---- release


async def test_release_is_called_once_when_the_descriptors_have_left() -> None:
    releases = Releases()
    with Pair() as (here, there):
        here.attach(), there.attach()
        fds = [marked(b"a"), marked(b"b")]
        for fd in fds:
            here.channel.send(encode(CARRYING, 1), [fd], releases.add())
        assert releases.counts == [0, 0]
        await there.hears(2)
        assert releases.counts == [1, 1]
        for fd in fds:
            os.close(fd)
    assert releases.counts == [1, 1]


async def test_release_is_called_once_when_the_channel_is_closed_first() -> None:
    releases = Releases()
    with Pair() as (here, _), open(os.devnull) as file:
        here.attach()
        fill(here)
        here.channel.send(encode(CARRYING, 1), [file.fileno()], releases.add())
        await turns()
        here.channel.send(encode(CARRYING, 1), [file.fileno()], releases.add())
        assert releases.counts == [0, 0]
        here.channel.close()
        assert releases.counts == [1, 1]
        here.channel.close()
    assert releases.counts == [1, 1]


async def test_release_is_called_once_when_the_other_end_goes() -> None:
    releases = Releases()
    with Pair() as (here, there), open(os.devnull) as file:
        here.attach()
        fill(here)
        here.channel.send(encode(CARRYING, 1), [file.fileno()], releases.add())
        await turns()
        there.channel.close()
        assert await here.ended() is None
        assert releases.counts == [1]


async def test_release_is_called_once_when_nobody_reads_any_more() -> None:
    releases = Releases()
    with Pair() as (here, there), open(os.devnull) as file:
        here.attach()
        there.sock.shutdown(socket.SHUT_RD)
        for _ in range(2):
            here.channel.send(encode(CARRYING, 1), [file.fileno()], releases.add())
        await turns()
        assert releases.counts == [1, 1]
        here.channel.send(encode(CARRYING, 1), [file.fileno()], releases.add())
        assert releases.counts == [1, 1, 1]
        here.channel.send(encode(PLAIN, 1))  # dropped as well
        assert not here.channel.is_closed
    assert releases.counts == [1, 1, 1]


async def test_release_is_not_called_when_send_raises() -> None:
    releases = Releases()
    with Pair() as (here, _):
        here.attach()
        here.channel.close()
        with pytest.raises(ChannelClosedError, match="the channel is closed"):
            here.channel.send(encode(CARRYING, 1), [0], releases.add())
    assert releases.counts == [0]


# ---- the end


async def test_what_was_sent_before_the_end_is_heard_before_it() -> None:
    order: list[object] = []
    with Pair(lambda frame, take: order.append(frame[1])) as (here, there):
        here.attach()
        for number in range(3):
            here.channel.send(encode(PLAIN, number))
        here.channel.detach()
        here.channel.close()
        there.channel.attach(asyncio.get_running_loop(), there._receive, lambda error: order.append("end"))
        while "end" not in order:
            await asyncio.sleep(0)
        assert order == [0, 1, 2, "end"]


async def test_descriptors_that_were_sent_before_the_end_are_heard_before_it() -> None:
    with Pair() as (here, there):
        here.attach()
        for mark in (b"a", b"b", b"c"):
            here.channel.send(*carrying(mark))
        here.channel.detach()
        here.channel.close()
        there.attach()
        assert await there.ended() is None
        assert there.contents == [[b"a"], [b"b"], [b"c"]]


async def test_what_was_sent_before_the_end_is_heard_by_an_end_that_writes() -> None:
    with Pair() as (here, there):
        here.attach()
        here.channel.send(encode(PLAIN, "last words"))
        here.channel.detach()
        there.attach()
        fill(there)
        here.channel.close()
        assert await there.ended() is None
        assert there.frames == [[PLAIN, "last words"]]


async def test_an_end_in_the_middle_of_a_frame_is_no_error() -> None:
    with Pair() as (here, there):
        there.attach()
        here.sock.send(encode(PLAIN, 1) + encode(PLAIN, b"x" * 100)[:50])
        here.channel.close()
        assert await there.ended() is None
        assert there.frames == [[PLAIN, 1]]


async def test_closed_is_called_once_and_not_for_our_own_close() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        here.channel.close()
        assert await there.ended() is None
        there.channel.close()
        there.channel.finish()
        await turns()
        assert here.ends == []
        assert there.ends == [None]
        assert here.channel.is_closed
        assert there.channel.is_closed
        assert here.channel.fileno() == -1


async def test_bytes_that_are_no_frame_end_this_channel() -> None:
    with Pair() as (here, there), Pair() as (others, theirs):
        for end in (here, there, others, theirs):
            end.attach()
        here.sock.send(encode(PLAIN, 1) + b"\xff\xff\xff\xff" + encode(PLAIN, 2))
        error = await there.ended()
        assert isinstance(error, ProtocolError)
        assert there.frames == [[PLAIN, 1]]
        assert await here.ended() is None
        others.channel.send(encode(PLAIN, 3))
        assert await theirs.hears(1) == [[PLAIN, 3]]


async def test_a_frame_over_the_limit_ends_this_channel_before_it_has_come() -> None:
    here, there = socket_pair()
    ends: list[Exception | None] = []
    channel = Channel(there, limit=1000)
    with here:
        channel.attach(asyncio.get_running_loop(), lambda frame, take: None, ends.append)
        here.send((1001).to_bytes(4, "big"))
        await turns(10)
        assert [str(error) for error in ends] == ["a frame of 1001 bytes is over the limit of 1000"]


async def test_a_bug_in_a_handler_of_ours_costs_its_frame_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[list[bytes]] = []

    def fail(frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        if frame[1] == "fail":
            raise KeyError("field")
        if frame[0] == CARRYING:
            heard.append([contents(fd) for fd in take().take()])

    with Pair(fail) as (here, there):
        here.attach(), there.attach()
        here.channel.send(encode(PLAIN, "fail"))
        here.channel.send(encode(PLAIN, "good"))
        fds = [marked(b"lost"), marked(b"kept")]
        here.channel.send(encode(CARRYING, "fail"), fds[:1])
        here.channel.send(encode(PLAIN, "between"))
        here.channel.send(encode(CARRYING, "good"), fds[1:])
        here.channel.send(encode(PLAIN, "last"))
        assert [frame[1] for frame in await there.hears(6)] == ["fail", "good", "fail", "between", "good", "last"]
        await turns()
        assert heard == [[b"kept"]]
        assert there.ends == []
        for fd in fds:
            os.close(fd)
    records = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert records == [
        ("ERROR", "a frame of kind 1 could not be handled"),
        ("ERROR", "a frame of kind 2 could not be handled"),
    ]
    assert all(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("way", ["close", "detach and close"])
async def test_close_from_within_receive_is_the_end_of_it(way: str) -> None:
    def stop(frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        if frame[1] == 1:
            if way != "close":
                there.channel.detach()
            there.channel.close()

    with Pair(stop) as (here, there):
        here.attach(), there.attach()
        for number in range(5):
            here.channel.send(encode(PLAIN, number))
        here.channel.send(*carrying(b"a"))
        assert await here.ended() is None
        await turns()
        assert there.frames == [[PLAIN, 0], [PLAIN, 1]]
        assert there.ends == []


async def test_close_from_within_receive_closes_the_descriptors_that_came_along() -> None:
    with Pair(lambda frame, take: there.channel.close()) as (here, there):
        here.attach(), there.attach()
        here.channel.send(*carrying(b"a", b"b"))
        assert await here.ended() is None
        assert there.frames == [[CARRYING, 2]]


async def test_close_from_within_closed_is_harmless() -> None:
    with Pair() as (here, there):
        here.attach()
        ends: list[Exception | None] = []

        def ended(error: Exception | None) -> None:
            ends.append(error)
            here.channel.close()

        here.channel.attach(asyncio.get_running_loop(), here._receive, ended)
        there.channel.close()
        while not ends:
            await asyncio.sleep(0)
        assert ends == [None]


async def test_an_end_that_was_killed_with_our_bytes_unread_is_an_end() -> None:
    with Pair() as (here, there):
        here.attach()
        here.channel.send(encode(PLAIN, 1))
        await turns()
        there.sock.send(encode(PLAIN, 2))
        there.channel.close()  # the next read meets ECONNRESET, after what was sent
        assert await here.ended() is None
        assert here.frames == [[PLAIN, 2]]


async def test_finish_reads_what_was_left_and_ends() -> None:
    with Pair() as (here, there):
        here.attach(), there.attach()
        here.channel.send(encode(PLAIN, 1))
        for mark in (b"a", b"b"):
            here.channel.send(*carrying(mark))
        here.channel.send(encode(PLAIN, 2))
        here.channel.detach()
        there.channel.finish()
        assert there.frames == [[PLAIN, 1], [CARRYING, 1], [CARRYING, 1], [PLAIN, 2]]
        assert there.contents == [[b"a"], [b"b"]]
        assert there.ends == [None]
        assert there.channel.is_closed


async def test_finish_ends_though_somebody_else_holds_the_other_end() -> None:
    """As a process does that the worker has started, and that outlives it."""
    with Pair() as (here, there):
        there.attach()
        here.sock.send(encode(PLAIN, 1) + encode(PLAIN, 2)[:3])
        there.channel.finish()
        assert there.frames == [[PLAIN, 1]]
        assert there.ends == [None]


async def test_finish_reads_more_than_one_read_takes() -> None:
    with Pair() as (here, there):
        here.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
        there.attach()
        here.sock.setblocking(False)
        frame = encode(PLAIN, b"x" * (1024 - len(encode(PLAIN, b"x" * 1000)) + 1000))
        assert len(frame) == 1024
        sent = here.sock.send(frame * 1024)
        there.channel.finish()
        assert len(there.frames) == sent // 1024


async def test_finish_ends_with_the_error_of_what_was_left() -> None:
    with Pair() as (here, there):
        there.attach()
        here.sock.send(b"\xff" * 4)
        there.channel.finish()
        assert [type(error) for error in there.ends] == [ProtocolError]


# ---- loops


def test_another_loop_may_be_attached_to() -> None:
    with Pair() as (here, there):

        async def turn(number: int) -> None:
            here.attach(), there.attach()
            here.channel.send(encode(PLAIN, number))
            await there.until(lambda: [PLAIN, number] in there.frames)
            here.channel.send(encode(PLAIN, -number))  # leaves with detach()
            here.channel.detach()
            there.channel.detach()

        for number in range(1, 4):
            asyncio.run(turn(number))
        assert there.frames == [[PLAIN, 1], [PLAIN, -1], [PLAIN, 2], [PLAIN, -2], [PLAIN, 3]]


def test_what_a_full_socket_had_no_room_for_leaves_on_the_next_loop() -> None:
    with Pair() as (here, there):

        async def begin() -> int:
            here.attach()
            count = fill(here)
            await turns()
            here.channel.detach()
            await turns(20)
            return count

        async def go_on() -> None:
            here.attach(), there.attach()
            here.channel.send(encode(PLAIN, "last"))
            frames = await there.hears(count + 1)
            assert [frame[1] for frame in frames] == [*range(count), "last"]

        count = asyncio.run(begin())
        asyncio.run(go_on())


def test_what_was_queued_while_no_loop_ran_leaves_on_the_next_one() -> None:
    with Pair() as (here, there):

        async def attach() -> None:
            here.attach()

        async def go_on() -> None:
            here.attach(), there.attach()
            assert await there.hears(2) == [[PLAIN, 1], [PLAIN, 2]]

        asyncio.run(attach())
        here.channel.detach()
        here.channel.send(encode(PLAIN, 1))
        here.channel.send(encode(PLAIN, 2))
        asyncio.run(go_on())


async def test_a_closed_channel_may_be_attached_and_detached() -> None:
    with Pair() as (here, _):
        here.channel.close()
        here.attach()
        await turns()
        here.channel.detach()
        assert here.ends == []


def test_without_a_loop_frames_are_read_and_written_blocking() -> None:
    with Pair() as (here, there):
        frames: list[RawFrame] = []
        there.channel.attach_blocking(lambda frame, take: frames.append(frame))
        here.channel.send(encode(PLAIN, 1))
        here.channel.send(encode(PLAIN, 2))
        here.channel.flush_blocking()
        assert there.channel.read_blocking()
        assert frames == [[PLAIN, 1], [PLAIN, 2]]
        here.channel.close()
        assert not there.channel.read_blocking()
        assert there.channel.is_closed


def test_writing_without_a_loop_to_an_end_that_is_gone_returns() -> None:
    with Pair() as (here, there):
        releases = Releases()
        there.channel.close()
        here.channel.send(encode(PLAIN, 1))
        here.channel.send(encode(CARRYING, 1), [0], releases.add())
        here.channel.flush_blocking()
        assert releases.counts == [1]


async def test_a_fork_abandons_its_copy_and_leaves_the_loop_alone() -> None:
    """As in a process that a worker forked: its copy of the epoll descriptor is the worker's own."""
    with Pair() as (here, there):
        here.attach(), there.attach()
        copy = Channel(socket.socket(fileno=os.dup(here.channel.fileno())))
        copy.attach_blocking(lambda frame, take: None)
        copy.abandon()
        assert copy.is_closed
        here.channel.send(encode(PLAIN, 1))
        there.channel.send(encode(PLAIN, 2))
        assert await there.hears(1) == [[PLAIN, 1]]
        assert await here.hears(1) == [[PLAIN, 2]]


# ---- interruptions


@pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)
def test_an_interrupted_channel_goes_on_where_it_was(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """At Ctrl-C the loop stops; it may run again, and then no frame is lost, none of what was to be sent either."""

    def reply(frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        if frame[0] == CARRYING:
            there.contents.append([contents(fd) for fd in take().take()])
        there.channel.send(encode(PLAIN, frame[1]))
        if frame[1] % 100 == 50:
            raise KeyboardInterrupt

    async def talk() -> None:
        here.attach(), there.attach()
        for number in range(1000):
            here.channel.send(encode(PLAIN, number, b"x" * 300))
        here.channel.send(*carrying(b"mark"))
        await here.hears(1001)

    interruptions = 0
    with closing(new_loop()) as loop, Pair(reply) as (here, there):
        talking = loop.create_task(talk())
        while not talking.done():
            try:
                loop.run_until_complete(talking)
            except KeyboardInterrupt:
                interruptions += 1
        talking.result()
        assert 1 <= interruptions <= 10  # uvloop raises those of one iteration once
        assert [frame[1] for frame in there.frames] == [*range(1000), 1]
        assert [frame[1] for frame in here.frames] == [*range(1000), 1]
        assert there.contents == [[b"mark"]]


def test_an_interrupted_channel_goes_on_on_another_loop() -> None:
    def interrupt(frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        if frame[1] == 1:
            raise KeyboardInterrupt

    async def first() -> None:
        here.attach(), there.attach()
        for number in range(10):
            here.channel.send(encode(PLAIN, number))
        await there.hears(10)

    async def second() -> None:
        there.attach()
        await there.hears(10)

    with Pair(interrupt) as (here, there):
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(first())
        here.channel.detach()
        there.channel.detach()
        asyncio.run(second())
        assert [frame[1] for frame in there.frames] == list(range(10))


async def test_cancellation_and_the_like_out_of_a_receiver_cost_its_frame_and_nothing_else() -> None:
    def fail(frame: RawFrame, take: Callable[[], Descriptors]) -> None:
        if frame[1] == 1:
            raise asyncio.CancelledError

    with Pair(fail) as (here, there):
        here.attach(), there.attach()
        for number in range(10):
            here.channel.send(encode(PLAIN, number))
        assert [frame[1] for frame in await there.hears(10)] == list(range(10))
