"""Topics: what is published, by whom and to whom, between clients and the board."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiocluster import ChannelClosedError, ClusterError, SerializationError
from aiocluster._primary.topics import Board
from aiocluster._wire import frames as kinds
from aiocluster._wire import topics as client
from aiocluster._wire.codec import encode, encode_flow, pack
from aiocluster._wire.publication import BUDGET, TOPIC_WINDOW
from aiocluster._wire.subscription import ROOM, Subscription
from aiocluster._wire.windows import FRAGMENT

from .members import Clock, Process, take, turns


class World:
    """A board and its processes, which all have ended when it is left."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        self.board = Board(self.clock.schedule)
        self.processes = [Process(self.board, pid) for pid in range(1, count + 1)]

    async def __aenter__(self) -> World:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for process in self.processes:
            process.end()
        assert self.is_empty()

    def is_empty(self) -> bool:
        """Whether the board knows of nothing any more."""
        board = self.board
        return not (board._topics or board._numbers or board._remote or self.clock.due)


def knows_nothing(process: Process) -> bool:
    """Whether it subscribes to nothing, and neither it nor the board remembers that it did."""
    topics, member = process.topics, process.member
    remembered = (topics._subscribed, topics._incoming, topics._unanswered, member._readers, member._subscribed)
    return not any(remembered)


async def test_a_message_reaches_each_subscription_to_its_topic_once() -> None:
    async with World(3) as world:
        a, b, c = world.processes
        async with (
            b.subscribe("news", "sport", "news") as both,
            b.subscribe("news") as news,
            c.subscribe("sport") as sport,
        ):
            await a.publish("news", {"n": [1]})
            await a.publish("weather", "for nobody")
            await a.publish("sport", "goal")
            await c.publish("news", "from c")
            one, goal, from_c = await take(both, 3)
            assert (one, goal, from_c) == ({"n": [1]}, "goal", "from c")
            assert (both.topic, both.sender, both.dropped) == ("news", 3, 0)
            first = await anext(news)
            assert first == one
            assert first is not one  # each subscription has objects of its own
            assert first["n"] is not one["n"]
            assert (news.topic, news.sender) == ("news", 1)
            assert await anext(news) == "from c"
            assert await take(sport, 1) == ["goal"]
        assert a.error is b.error is c.error is None


async def test_own_subscriptions_hear_at_once_and_are_not_sent_their_own_again() -> None:
    async with World(2) as world:
        a, b = world.processes
        async with a.subscribe("t") as own, b.subscribe("t") as others:
            await a.publish("t", 1)
            assert await anext(own) == 1
            assert own.sender == a.pid
            await b.publish("t", 2)
            assert await take(own, 1) == [2]
            await a.publish("t", 3)
            assert await take(others, 3) == [2, 1, 3]  # its own first: that needed no way
            await a.publish("t", 4)
            assert await take(own, 2) == [3, 4]


async def test_own_messages_never_wait_and_the_oldest_go() -> None:
    async with World(1) as world:
        (a,) = world.processes
        async with a.subscribe("t") as own:
            body = "x" * (ROOM // 10)
            for n in range(25):
                await a.publish("t", [n, body])
            heard = await take(own, 25 - own.dropped)
            assert [n for n, _ in heard] == list(range(25))[-len(heard) :]
            assert own.dropped == 25 - len(heard) > 0
            await a.publish("t", "y" * (3 * ROOM))  # the newest always stays
            assert len(await anext(own)) == 3 * ROOM


@pytest.mark.parametrize("size", [0, 10, FRAGMENT - 10, FRAGMENT + 1, 5 * FRAGMENT, 2 * BUDGET])
async def test_sizes(size: int) -> None:
    async with World(3) as world:
        a, b, c = world.processes
        async with b.subscribe("t") as one, c.subscribe("t", on_full="drop_oldest") as other:

            async def publish() -> None:
                for n in range(3):
                    await a.publish("t", [n, b"x" * size])

            publishing = asyncio.create_task(publish())
            assert [[n, len(x)] for n, x in await take(one, 3)] == [[n, size] for n in range(3)]
            await publishing
            kept = await take(other, 3 - other.dropped)
            assert [[n, len(x)] for n, x in kept] == [[n, size] for n in range(3)][-len(kept) :]


async def fill(process: Process, topic: str, size: int = 1000) -> int:
    """Publishes until it would have to wait. Returns how many messages it was."""
    count = 0
    while True:
        publishing = asyncio.create_task(process.publish(topic, [count, b"x" * size]))
        await turns(20)
        count += 1
        if not publishing.done():
            publishing.cancel()
            await asyncio.wait([publishing])
            return count - 1


async def test_a_subscriber_that_does_not_take_slows_down_this_topic_alone() -> None:
    async with World(3) as world:
        a, b, c = world.processes
        async with b.subscribe("slow") as slow, c.subscribe("slow", "other") as quick:
            count = await fill(a, "slow")
            assert 0.9 * TOPIC_WINDOW < count * 1040 < 1.1 * TOPIC_WINDOW
            await a.publish("other", "comes through")
            assert (await take(quick, count + 1))[-1] == "comes through"
            publishing = asyncio.create_task(a.publish("slow", "more"))
            assert [n for n, _ in await take(slow, count)] == list(range(count))
            await publishing
            assert await take(slow, 1) == await take(quick, 1) == ["more"]
            assert slow.dropped == quick.dropped == 0


async def test_a_subscriber_that_drops_slows_down_nobody_and_counts() -> None:
    async with World(2) as world:
        a, b = world.processes
        async with b.subscribe("t", on_full="drop_oldest") as messages:
            count = 5 * ROOM // 1000
            for n in range(count):
                await a.publish("t", [n, b"x" * 1000])
                if n % 50 == 0:
                    await turns(1)
            await a.said_all()
            await turns()
            kept = [n for n, _ in await take(messages, count - messages.dropped)]
            assert kept == list(range(messages.dropped, count))
            assert 0.8 * ROOM < len(kept) * 1030 <= ROOM


async def test_all_topics_together_have_a_bound() -> None:
    async with World(2) as world:
        a, b = world.processes
        names = [f"t{n}" for n in range(12)]
        async with b.subscribe(*names) as messages:
            counts = [await fill(a, name, 20_000) for name in names]
            assert counts[-1] == 0
            assert BUDGET <= a.topics._budget.used < BUDGET + 2 * FRAGMENT
            assert a.member.cost == a.topics._budget.used
            waiting = [asyncio.create_task(a.publish(name, [-1, b""])) for name in names]
            heard = await take(messages, sum(counts) + len(names))
            assert sum(n == -1 for n, _ in heard) == len(names)
            await asyncio.gather(*waiting)
        await a.said_all()
        assert a.member.cost == 0


async def test_one_that_acknowledges_nothing_is_left_behind_and_told_what_it_missed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World(3) as world:
        a, b, c = world.processes
        async with b.subscribe("t") as stuck, c.subscribe("t") as lively:
            count = await fill(a, "t")
            await take(lively, count)
            long = asyncio.create_task(a.publish("t", [count, b"x" * 100_000]))
            await turns(20)
            with caplog.at_level(logging.WARNING, "aiocluster.topics"):
                world.clock.go_on()
            (warning,) = caplog.messages
            assert warning.startswith("process 2 has acknowledged nothing of topic 't' for 30 seconds while publishers")
            await long
            for n in range(5):
                await a.publish("t", [count + 1 + n, b""])
            assert [n for n, _ in await take(lively, 6)] == [count + n for n in range(6)]
            assert [n for n, _ in await take(stuck, count)] == list(range(count))
            again = asyncio.create_task(anext(stuck))  # only now the last one is acknowledged
            async with asyncio.timeout(10):
                while not stuck.dropped:
                    await asyncio.sleep(0.001)
            assert stuck.dropped == 6
            await a.publish("t", "again")
            assert await again == "again"
            assert (stuck.dropped, lively.dropped) == (6, 0)


@pytest.mark.parametrize("size", [0, 50, 1000, 40_000])
async def test_whoever_is_waited_for_is_left_behind_in_the_end(size: int) -> None:
    """However messages are batched, the board sees that the publisher waits."""
    async with World(2) as world:
        a, b = world.processes
        async with b.subscribe("t") as stuck:

            async def publish(count: int) -> None:
                for n in range(count):
                    await a.publish("t", [n, b"x" * size])

            count = 3 * TOPIC_WINDOW // (size + 35)
            publishing = asyncio.create_task(publish(count))
            await turns(100)
            assert not publishing.done()
            async with asyncio.timeout(20):
                while not publishing.done():
                    world.clock.go_on()
                    await asyncio.sleep(0.01)
            await a.said_all()
            await a.publish("t", "not for one that is left behind")
            taken = 0
            async with asyncio.timeout(20):
                while True:
                    reading = asyncio.ensure_future(anext(stuck))
                    done, _ = await asyncio.wait([reading], timeout=0.05)
                    if not done:
                        break
                    taken += 1
                while not stuck.dropped:
                    await asyncio.sleep(0.001)
            assert taken + stuck.dropped == count + 1
            await a.publish("t", "again")
            assert await reading == "again"


async def test_left_behind_within_a_long_message() -> None:
    async with World(3) as world:
        a, b, c = world.processes
        async with b.subscribe("t") as stuck, c.subscribe("t") as lively:
            await a.publish("t", "before")
            await turns()
            long = asyncio.create_task(a.publish("t", b"x" * (3 * TOPIC_WINDOW)))
            await take(lively, 1)
            last = asyncio.create_task(anext(lively))  # acknowledges the first
            await turns(50)
            world.clock.go_on()
            assert await last == b"x" * (3 * TOPIC_WINDOW)
            await long
            assert await take(stuck, 1) == ["before"]
            again = asyncio.create_task(anext(stuck))
            async with asyncio.timeout(10):
                while not stuck.dropped:
                    await asyncio.sleep(0.001)
            await a.publish("t", "after")
            assert await again == "after"
            assert stuck.dropped == 1


async def test_who_joins_within_a_long_message_begins_after_it() -> None:
    async with World(3) as world:
        a, b, c = world.processes
        async with b.subscribe("t") as first:
            long = asyncio.create_task(a.publish("t", b"x" * (5 * TOPIC_WINDOW)))
            await turns(1)
            assert not long.done()
            async with c.subscribe("t") as second:
                await take(first, 1)
                await long
                await a.publish("t", "next")
                assert await take(second, 1) == ["next"]
                assert await take(first, 1) == ["next"]


async def test_a_cancelled_long_message_does_not_arrive() -> None:
    async with World(2) as world:
        a, b = world.processes
        async with b.subscribe("t") as messages:
            long = asyncio.create_task(a.publish("t", b"x" * (5 * TOPIC_WINDOW)))
            await turns(2)
            long.cancel()
            await asyncio.wait([long])
            await a.publish("t", "whole")
            assert await take(messages, 1) == ["whole"]


async def test_the_end_of_a_publisher_and_of_a_subscriber() -> None:
    async with World(3) as world:
        a, b, c = world.processes
        async with b.subscribe("t") as stays, c.subscribe("t") as goes:
            count = await fill(a, "t")
            waiting = asyncio.create_task(a.publish("t", [count, b""]))
            await take(stays, count)
            asking = asyncio.create_task(anext(stays))
            await turns()
            assert not waiting.done()
            c.end()  # the slow one
            await waiting
            await asking
            await a.publish("t", "last words")
            await turns()
            a.end()
            assert await take(stays, 1) == ["last words"]
            assert len(await take(goes, count)) == count  # what had arrived
            with pytest.raises(StopAsyncIteration):
                await anext(goes)
        for process in (a, c):
            with pytest.raises(ChannelClosedError):
                await process.publish("t", 1)
            with pytest.raises(ChannelClosedError):
                async with process.subscribe("t"):
                    pass
        await turns()
        assert world.is_empty()


async def test_the_end_while_somebody_waits() -> None:
    async with World(2) as world:
        a, b = world.processes
        async with b.subscribe("t"):
            await fill(a, "t")
            publishing = [asyncio.create_task(a.publish("t", n)) for n in range(3)]
            subscribing = asyncio.create_task(a.subscribe("u").__aenter__())
            await asyncio.sleep(0)
            a.end()
            for task in (*publishing, subscribing):
                with pytest.raises(ChannelClosedError):
                    await task


async def test_bad_arguments() -> None:
    async with World(1) as world:
        (a,) = world.processes
        for topic in ("", "ü" * 513, "\udc80"):
            with pytest.raises(ValueError):
                await a.publish(topic, 1)
            with pytest.raises(ValueError):
                a.subscribe("fine", topic)
        for wrong in (b"t", 1, None, ["t"]):
            with pytest.raises(TypeError, match="a topic is a str"):
                await a.publish(wrong, 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at least one topic"):
            a.subscribe()
        with pytest.raises(ValueError, match="on_full"):
            a.subscribe("t", on_full="explode")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"subscribe\(\)"):
            Subscription(a.topics, ("t",), "wait")
        async with a.subscribe("t", "ü" * 512) as messages:
            with pytest.raises(SerializationError, match=r"message\[1\]: set"):
                await a.publish("t", [1, set()])
            await a.publish("t", (1, 2))
            assert await anext(messages) == [1, 2]
            with pytest.raises(RuntimeError, match="already"):
                await messages.__aenter__()
        with pytest.raises(RuntimeError, match="enter"):
            await anext(a.subscribe("t"))
        with pytest.raises(StopAsyncIteration):
            await anext(messages)


async def test_too_many_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MOST_SUBSCRIBED", 3)
    async with World(1) as world:
        (a,) = world.processes
        async with a.subscribe("1", "2"):
            with pytest.raises(ClusterError, match="at most 3"):
                async with a.subscribe("3", "4"):
                    pass
            async with a.subscribe("3"):
                pass


async def test_topics_that_come_and_go_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_MOST_OPEN", 50)
    async with World(2) as world:
        a, b = world.processes
        for n in range(2000):
            async with b.subscribe(f"room {n}") as messages:
                await a.publish(f"room {n}", n)
                assert await take(messages, 1) == [n]
            if n % 10 == 0:  # acknowledgements come in a few milliseconds; here, at once
                a.here._call_later()
                b.here._call_later()
                await turns(3)
        await turns()
        assert len(a.topics.flows) < 100
        assert len(a.topics.flows) == len(a.topics._by_number) == len(a.member._flows)
        assert max(a.topics._by_number) < 120
        assert set(world.board._topics) == set(a.topics.flows)
        assert knows_nothing(b)
        assert a.error is b.error is None


async def test_subscribing_again_hears_nothing_twice_and_nothing_of_before() -> None:
    async with World(2) as world:
        a, b = world.processes
        for n in range(30):
            async with b.subscribe("t") as messages:
                await a.publish("t", [n, "first"])
                assert (await take(messages, 1))[0] == [n, "first"]
                await a.publish("t", [n, "not taken"])
                if n % 3:
                    await turns(n % 4)
        entering = [asyncio.create_task(b.subscribe("t").__aenter__()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in entering[:2]:
            task.cancel()
        messages = await entering[2]
        await a.publish("t", "last")
        assert await take(messages, 1) == ["last"]
        messages.close()
        assert not b.topics._subscribed
        await turns()
        assert not b.topics._unanswered
        assert a.error is b.error is None


async def test_a_forgotten_subscription_holds_nobody_up() -> None:
    async with World(2) as world:
        a, b = world.processes
        messages: Subscription | None = await b.subscribe("t").__aenter__()
        count = await fill(a, "t")
        waiting = asyncio.create_task(a.publish("t", count))
        await turns()
        del messages
        gc.collect()
        async with asyncio.timeout(10):
            await waiting
        await turns()
        assert knows_nothing(b)
        await b.subscribe("t").__aenter__()  # forgotten at once
        await a.publish("t", "for the forgotten one")
        async with b.subscribe("t") as another:
            await a.publish("t", "for this one")
            assert await take(another, 1) == ["for this one"]


@pytest.mark.parametrize(
    "frame",
    [
        encode_flow(kinds.TOPIC, 9, 1, pack(1)),
        encode_flow(kinds.TOPIC, 1, -1, pack(1)),
        encode_flow(kinds.TOPIC, 1, 2**62, pack(1)),
        encode_flow(kinds.TOPIC, 1, 1, b"x" * (2 * TOPIC_WINDOW)),
        encode_flow(kinds.TOPIC_FRAGMENT, 1, 0, b"x" * (FRAGMENT + 1)),
        encode(kinds.OpenTopic.tag, 1, "t"),
        encode(kinds.OpenTopic.tag, 2, ""),
        encode(kinds.OpenTopic.tag, 2, "x" * 1025),
        encode(kinds.CloseTopic.tag, 2),
        encode(kinds.Subscribe.tag, "t2"),
        encode(kinds.Subscribe.tag, "\udc80"),
        encode(kinds.Unsubscribe.tag, "t"),
        encode_flow(kinds.TOPIC_ACK, 2, 3, b""),
        encode_flow(kinds.TOPIC_ACK, 2, -1, b""),
    ],
)
async def test_who_breaks_the_protocol_is_dropped_alone(frame: bytes) -> None:
    async with World(3) as world:
        a, b, c = world.processes
        async with c.subscribe("t") as heard, a.subscribe("t2"):
            await a.publish("t", 1)
            await c.publish("t2", 1)
            await turns()
            assert 2 in a.member._readers
            a.here.send(frame)
            await turns()
            assert a.error is not None
            await b.publish("t", 2)
            assert await take(heard, 2) == [1, 2]
            assert b.error is c.error is None


async def test_bytes_that_are_no_messages_cost_only_themselves() -> None:
    async with World(2) as world:
        a, b = world.processes
        async with b.subscribe("t") as messages:
            await a.publish("t", 1)
            await turns()
            a.here.send(encode_flow(kinds.TOPIC, 1, 1, b"\xc1"))
            a.here.send(encode_flow(kinds.TOPIC, 1, 7, b"\x01"))
            a.here.send(encode_flow(kinds.TOPIC, 1, 1, pack(2)))
            assert await take(messages, 2) == [1, 2]
            assert [str(error) for error in b.complaints] == [
                "1 published an invalid message: 1 bytes are not a message: ",
                "1 published an invalid message: 1 bytes hold 1 messages, not 7",
            ]


# ---- other machines


class Uplink:
    """What the board tells it."""

    def __init__(self) -> None:
        self.published: list[tuple[str, int, int, bytes]] = []
        self.topics: dict[str, Any] = {}

    def publish(self, topic: str, sender: int, count: int, body: bytes) -> None:
        self.published.append((topic, sender, count, body))

    def wanted(self, topic: str, ready: Any) -> None:
        self.topics[topic] = ready

    def unwanted(self, topic: str) -> None:
        del self.topics[topic]


async def test_the_uplink_hears_whole_messages_and_which_topics_are_wanted() -> None:
    async with World(2) as world:
        a, b = world.processes
        uplink = Uplink()
        world.board.connect(uplink)
        first, second = b.subscribe("t"), a.subscribe("t")
        entering = [asyncio.create_task(one.__aenter__()) for one in (first, second)]
        await turns()
        assert not any(task.done() for task in entering)
        assert world.board.wanted == list(uplink.topics) == ["t"]
        await b.publish("t", "before")
        uplink.topics["t"]()
        await turns()
        assert all(task.done() for task in entering)
        await a.publish("t", 1)
        await a.publish("t", 2)
        long = asyncio.create_task(a.publish("t", b"x" * (3 * TOPIC_WINDOW)))
        await take(first, 4)
        await long
        await turns()
        assert uplink.published == [
            ("t", 2, 1, pack("before")),
            ("t", 1, 2, pack(1) + pack(2)),
            ("t", 1, 1, pack(b"x" * (3 * TOPIC_WINDOW))),
        ]
        first.close()
        await turns()
        assert list(uplink.topics) == ["t"]
        waiting = asyncio.create_task(b.subscribe("u").__aenter__())
        await turns()
        second.close()
        waiting.cancel()
        await turns()
        assert not uplink.topics


async def test_remote_messages_wait_for_nobody_and_what_is_missed_is_counted() -> None:
    async with World(2) as world:
        a, b = world.processes
        board = world.board
        board.publish_remote("t", "far/7", 1, pack("for nobody"))
        async with a.subscribe("t") as quick, b.subscribe("t") as slow:
            board.publish_remote("t", "far/7", 2, pack(1) + pack(2))
            assert await take(quick, 2) == [1, 2]
            assert quick.sender == "far/7"
            long = pack(b"x" * (20 * TOPIC_WINDOW))
            reading = asyncio.create_task(anext(quick))
            async with asyncio.timeout(10):
                while a.member.remote_cost:
                    await asyncio.sleep(0.001)
            board.publish_remote("t", "far/7", 1, pack(3))
            assert await reading == 3
            reading = asyncio.create_task(anext(quick))
            async with asyncio.timeout(10):
                while a.member.remote_cost:
                    await asyncio.sleep(0.001)
            board.publish_remote("t", "far/8", 1, long)
            await reading
            assert await take(slow, 3) == [1, 2, 3]
            reading = asyncio.create_task(anext(slow))
            async with asyncio.timeout(10):
                while not slow.dropped:
                    await asyncio.sleep(0.001)
            board.publish_remote("t", "far/7", 1, long)
            assert len(await reading) == 20 * TOPIC_WINDOW
            board.host_left("far")
            await turns()
            assert not a.topics._incoming
            assert not board._remote
            await turns()
            board.publish_remote("t", "far/7", 1, pack("back"))
            assert (await take(slow, 1)) == ["back"]
        assert a.error is b.error is None


# ---- any order of things

Step = tuple[Literal["publish", "burst", "subscribe", "close", "take", "turn", "end", "patience"], int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["publish"] * 3
            + ["burst"] * 2
            + ["subscribe", "subscribe", "close", "take", "take", "turn", "turn", "end", "patience"]
        ),
        st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from([0, 100, 3000, 30_000, 70_000, 300_000]),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([3, 1000]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_any_order_of_things(steps: list[Step], most_open: int) -> None:
    """Each subscription hears from each publisher and topic a rising series, and what it lacks it has counted."""
    before, client._MOST_OPEN = client._MOST_OPEN, most_open
    try:
        async with World(4) as world:
            await _live(world, steps)
    finally:
        client._MOST_OPEN = before


async def _live(world: World, steps: list[Step]) -> None:
    published: dict[tuple[int, str], int] = {}
    in_turn: dict[tuple[int, str], asyncio.Lock] = {}
    heard: dict[Subscription, list[tuple[int, str, int]]] = {}
    open: list[tuple[Process, Subscription]] = []
    tasks: list[asyncio.Task[Any]] = []
    for what, who, where, size in steps:
        process, topic = world.processes[who], f"topic {where}"
        if what in ("publish", "burst") and not process.here.is_closed:
            first = published.get((process.pid, topic), 0) + 1
            last = published[process.pid, topic] = first + (5_000_000 // (size + 10_000) if what == "burst" else 0)
            turn = in_turn.setdefault((process.pid, topic), asyncio.Lock())
            tasks.append(asyncio.create_task(_publish(turn, process, topic, range(first, last + 1), size)))
            await asyncio.sleep(0)
        elif what == "subscribe" and not process.here.is_closed:
            messages = process.subscribe(topic, "topic 0", on_full="drop_oldest" if size == 100 else "wait")
            entering = asyncio.create_task(messages.__aenter__())
            heard[messages] = []
            open.append((process, messages))
            tasks.append(entering)
            await turns(2)
        elif what == "close" and open:
            open.pop(who % len(open))[1].close()
        elif what == "take" and open:
            await _take_all(open[who % len(open)][1], heard)
        elif what == "turn":
            await turns(size // 1000 + 1)
        elif what == "end":
            process.end()
        elif what == "patience":
            world.clock.go_on()
    async with asyncio.timeout(20):
        while not all(task.done() for task in tasks):
            for _, messages in open:
                await _take_all(messages, heard)
            await asyncio.sleep(0.001)
    await turns(20)
    for _, messages in open:
        await _take_all(messages, heard)
    for task in tasks:
        error = task.exception()
        assert error is None or isinstance(error, ChannelClosedError)
    assert [process.error for process in world.processes] == [None] * 4
    assert [process.complaints for process in world.processes] == [[]] * 4
    for found in heard.values():
        series: dict[tuple[int, str], list[int]] = {}
        for sender, topic, number in found:
            series.setdefault((sender, topic), []).append(number)
        for numbers in series.values():
            assert numbers == sorted(set(numbers))
    for process, messages in open:
        if not process.here.is_closed:
            lacking = 0
            for sender, topic in {(sender, topic) for sender, topic, _ in heard[messages]}:
                numbers = [number for by, on, number in heard[messages] if (by, on) == (sender, topic)]
                lacking += numbers[-1] - numbers[0] + 1 - len(numbers)
            assert lacking <= messages.dropped
        messages.close()
    for process in world.processes:
        if not process.here.is_closed:
            await turns()
            assert knows_nothing(process)


async def _publish(turn: asyncio.Lock, process: Process, topic: str, numbers: Iterable[int], size: int) -> None:
    async with turn:
        for number in numbers:
            await process.publish(topic, [number, b"x" * size])


async def _take_all(messages: Subscription, heard: dict[Subscription, list[tuple[int, str, int]]]) -> None:
    """All that has arrived, and asks for one more, so that the last one is acknowledged."""
    try:
        async with asyncio.timeout(0):
            while True:
                number, _ = await anext(messages)
                heard[messages].append((int(messages.sender), messages.topic, number))
    except (TimeoutError, StopAsyncIteration):
        pass
