"""The hub behind on(), off(), wait_for() and events()."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import re
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import uvloop

from aiocluster import events
from aiocluster._events.emitter import NAMES, Emitter, EventHub, WorkerEvent
from aiocluster.events import Address, Disconnect, Error, Event, Message, Shutdown, Undelivered
from tests.support.raising import TYPES, raise_one, raise_one_later

NewLoop = Callable[[], asyncio.AbstractEventLoop]

EVENT_NAMES = {
    "setup",
    "fork",
    "online",
    "listening",
    "message",
    "disconnect",
    "exit",
    "error",
    "undelivered",
    "shutdown",
    "give_up",
    "backplane",
    "spawn",
    "close",
}

EVENTS: list[type[Event]] = [
    getattr(events, name) for name in vars(events)["__all__"] if name not in ("Event", "Address", "Reason")
]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def new_loop(request: pytest.FixtureRequest) -> NewLoop:
    made: NewLoop = request.param
    return made


class Thing(Emitter[WorkerEvent]):
    def __init__(self, parent: Thing | None = None) -> None:
        self._hub = EventHub(parent._hub if parent is not None else None)

    def emit(self, event: Event) -> None:
        self._hub.emit(event)

    async def drain(self) -> None:
        await self._hub.drain()


def _append(heard: list[str], name: str, event: Event) -> None:
    heard.append(name)


def shutdown(deadline: float = 1.0) -> Shutdown:
    return Shutdown(deadline)


# ---- the events themselves


def test_there_is_an_event_of_each_promised_name() -> None:
    assert NAMES == EVENT_NAMES
    assert {event.name for event in EVENTS} == NAMES


@pytest.mark.parametrize(
    "cls",
    EVENTS,
    ids=lambda c: c.name,
)
def test_each_event_is_a_frozen_dataclass(cls: type[Event]) -> None:
    assert dataclasses.is_dataclass(cls)
    assert issubclass(cls, Event)
    assert cls.__doc__
    event = cls(*([None] * len(dataclasses.fields(cls))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, dataclasses.fields(cls)[0].name, 1) if dataclasses.fields(cls) else None
    with pytest.raises((AttributeError, TypeError)):
        event.other = 1


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("tcp4", "127.0.0.1", 80), "127.0.0.1:80"),
        (Address("tcp6", "::1", 80), "[::1]:80"),
        (Address("udp6", "::", 53), "[::]:53"),
        (Address("unix", path="/run/s"), "unix:/run/s"),
    ],
)
def test_an_address_reads_well(address: Address, text: str) -> None:
    assert str(address) == text


def test_messages_emitted_the_quick_way_are_messages_like_others() -> None:
    hub = EventHub()
    heard: list[Message] = []
    hub.on("message", heard.append)
    hub.emit_messages(7, iter([1, "a"]), (), None)
    assert heard == [Message(7, 1), Message(7, "a")]
    assert repr(heard[0]) == repr(Message(7, 1))
    assert hash(heard[0]) == hash(Message(7, 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        heard[0].sender = 8  # type: ignore[misc]


# ---- on and off


def test_handlers_are_called_in_the_order_they_were_added() -> None:
    thing = Thing()
    calls: list[tuple[str, Event]] = []
    thing.on("shutdown", lambda event: calls.append(("first", event)))
    thing.on("disconnect", lambda event: calls.append(("other", event)))
    thing.on("shutdown", lambda event: calls.append(("second", event)))
    event = shutdown()
    thing.emit(event)
    assert calls == [("first", event), ("second", event)]


def test_on_returns_the_handler_and_is_a_decorator() -> None:
    thing = Thing()
    heard: list[Event] = []

    @thing.on("shutdown")
    def handler(event: Shutdown) -> None:
        heard.append(event)

    def other(event: Event) -> None:
        heard.append(event)

    assert thing.on("disconnect", other) is other
    thing.emit(shutdown())
    thing.emit(Disconnect())
    assert heard == [shutdown(), Disconnect()]


def test_off_removes_the_one_added_last() -> None:
    thing = Thing()
    heard: list[str] = []

    def handler(event: Event) -> None:
        heard.append("twice")

    thing.on("shutdown", handler)
    thing.on("shutdown", lambda event: heard.append("between"))
    thing.on("shutdown", handler)
    thing.off("shutdown", handler)
    thing.emit(shutdown())
    assert heard == ["twice", "between"]
    thing.off("shutdown", handler)
    thing.off("shutdown", handler)
    thing.emit(shutdown())
    assert heard == ["twice", "between", "between"]


def test_bound_methods_may_be_taken_off() -> None:
    thing = Thing()
    heard: list[Event] = []
    thing.on("shutdown", heard.append)
    thing.off("shutdown", heard.append)
    thing.emit(shutdown())
    assert heard == []


def test_handlers_added_or_removed_meanwhile_count_from_the_next_event_on() -> None:
    thing = Thing()
    heard: list[str] = []

    def last(event: Event) -> None:
        heard.append("last")

    def change(event: Event) -> None:
        thing.off("shutdown", last)
        thing.on("shutdown", lambda event: heard.append("new"))

    thing.on("shutdown", change)
    thing.on("shutdown", last)
    thing.emit(shutdown())
    assert heard == ["last"]
    thing.off("shutdown", change)
    thing.emit(shutdown())
    assert heard == ["last", "new"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("exits", "did you mean 'exit'?"), ("Exit", "did you mean 'exit'?"), ("", "there are backplane, close, ")],
)
async def test_an_unknown_name_is_a_value_error_that_suggests_the_nearest(name: str, hint: str) -> None:
    thing: Any = Thing()
    text = "^" + re.escape(f"there is no event {name!r}; {hint}")
    attempts: list[Callable[[], object]] = [
        lambda: thing.on(name, print),
        lambda: thing.on(name),
        lambda: thing.off(name, print),
        lambda: thing.events("exit", name),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=text):
            attempt()
    with pytest.raises(ValueError, match=text):
        await thing.wait_for(name)


# ---- parents


def test_what_a_hub_hears_its_parents_hear_next() -> None:
    top = Thing()
    middle = Thing(top)
    bottom, other = Thing(middle), Thing(middle)
    heard: list[str] = []
    for name, thing in (("top", top), ("middle", middle), ("bottom", bottom), ("other", other)):
        thing.on("shutdown", partial(_append, heard, name))
    bottom.emit(shutdown())
    assert heard == ["bottom", "middle", "top"]
    heard.clear()
    middle.emit(shutdown())
    assert heard == ["middle", "top"]


def test_handlers_of_a_parent_are_heard_whenever_they_were_added() -> None:
    top = Thing()
    heard: list[str] = []
    early = top.on("shutdown", lambda event: heard.append("early"))
    bottom = Thing(top)
    top.on("shutdown", lambda event: heard.append("late"))
    bottom.emit(shutdown())
    assert heard == ["early", "late"]
    top.off("shutdown", early)
    bottom.emit(shutdown())
    assert heard == ["early", "late", "late"]


# ---- handlers that raise


def test_a_handler_that_raises_is_logged_and_emitted_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    thing = Thing()
    heard: list[Any] = []
    problem = RuntimeError("boom")

    def bad(event: Event) -> None:
        raise problem

    thing.on("shutdown", bad)
    thing.on("shutdown", heard.append)
    thing.on("error", heard.append)
    thing.emit(shutdown())
    assert heard == [Error(None, problem), shutdown()]
    (record,) = caplog.records
    assert record.name == "aiocluster.events"
    assert record.levelno == logging.ERROR
    assert "bad of event 'shutdown' raised" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is problem


def test_an_error_handler_that_raises_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    thing = Thing()
    calls: list[Event] = []

    def bad(event: Event) -> None:
        calls.append(event)
        raise RuntimeError("again")

    thing.on("error", bad)
    thing.on("shutdown", bad)
    thing.emit(shutdown())
    assert [type(event) for event in calls] == [Shutdown, Error]
    assert len(caplog.records) == 2


def test_the_error_of_a_workers_handler_is_heard_above(caplog: pytest.LogCaptureFixture) -> None:
    top = Thing()
    bottom = Thing(top)
    heard: list[Error] = []
    top.on("error", heard.append)

    @bottom.on("shutdown")
    def bad(event: Event) -> None:
        raise RuntimeError("boom")

    bottom.emit(shutdown())
    assert [str(event.error) for event in heard] == ["boom"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("what", TYPES)
async def test_whatever_a_handler_raises_it_stops_nothing(what: str, caplog: pytest.LogCaptureFixture) -> None:
    thing = Thing()
    heard: list[Event] = []
    thing.on("message", lambda event: raise_one(what))
    thing.on("message", lambda event: raise_one_later(what))
    thing.on("message", heard.append)
    errors: list[Error] = []
    thing.on("error", errors.append)
    thing._hub.emit_messages(7, iter([1, 2]), (), None)
    thing.emit(Message(7, 3))
    assert heard == [Message(7, 1), Message(7, 2), Message(7, 3)]
    assert len(errors) == 3
    await thing.drain()
    names = [f"{type(event.error).__module__}.{type(event.error).__qualname__}" for event in errors]
    assert names == [TYPES[what]] * 6
    assert len(caplog.records) == 6


def test_ctrl_c_in_a_handler_ends_the_loop_and_stops_no_other_handler(new_loop: NewLoop) -> None:
    thing = Thing()
    heard: list[Event] = []

    def interrupt(event: Message) -> None:
        if event.message == 1:
            signal.raise_signal(signal.SIGINT)

    thing.on("message", interrupt)
    thing.on("message", heard.append)
    thing.on("error", heard.append)

    async def emit() -> None:
        thing._hub.emit_messages(7, iter([1, 2]), (), None)
        await asyncio.get_running_loop().create_future()

    loop = new_loop()
    task = loop.create_task(emit())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    assert heard == [Message(7, 1), Message(7, 2)]


def test_ctrl_c_in_an_async_handler_ends_the_loop(new_loop: NewLoop) -> None:
    thing = Thing()
    heard: list[Event] = []
    thing.on("error", heard.append)

    @thing.on("shutdown")
    async def interrupt(event: Shutdown) -> None:
        signal.raise_signal(signal.SIGINT)

    async def emit() -> None:
        thing.emit(shutdown())
        await asyncio.get_running_loop().create_future()

    loop = new_loop()
    task = loop.create_task(emit())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    assert heard == []


# ---- async handlers


async def test_async_handlers_run_and_are_waited_for() -> None:
    thing = Thing()
    gate = asyncio.Event()
    heard: list[Event] = []

    @thing.on("shutdown")
    async def handler(event: Shutdown) -> None:
        await gate.wait()
        heard.append(event)

    thing.emit(shutdown(1))
    thing.emit(shutdown(2))
    assert heard == []
    gate.set()
    await thing.drain()
    assert heard == [shutdown(1), shutdown(2)]


async def test_an_async_handler_that_raises_is_logged_and_emitted(caplog: pytest.LogCaptureFixture) -> None:
    thing = Thing()
    heard: list[Error] = []
    thing.on("error", heard.append)

    @thing.on("shutdown")
    async def bad(event: Shutdown) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("boom")

    thing.emit(shutdown())
    await thing.drain()
    assert [str(event.error) for event in heard] == ["boom"]
    assert len(caplog.records) == 1


async def test_a_handler_may_wait_for_the_others_to_end() -> None:
    thing = Thing()
    order: list[str] = []

    @thing.on("shutdown")
    async def slow(event: Shutdown) -> None:
        await asyncio.sleep(0)
        order.append("slow")

    @thing.on("shutdown")
    async def waiting(event: Shutdown) -> None:
        await thing.drain()
        order.append("waiting")

    thing.emit(shutdown())
    await thing.drain()
    assert order == ["slow", "waiting"]


async def test_cancel_and_a_cancelled_drain_cancel_the_handlers() -> None:
    thing = Thing()
    cancelled: list[int] = []

    @thing.on("shutdown")
    async def hang(event: Shutdown) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    thing.emit(shutdown())
    await asyncio.sleep(0)
    thing._hub.cancel()
    await thing.drain()
    assert cancelled == [1]

    assert thing._hub._tasks == set()
    thing.emit(shutdown())
    thing._hub.cancel()  # before its first step: the handler's coroutine is closed all the same
    await thing.drain()
    assert cancelled == [1]

    thing.emit(shutdown())
    draining = asyncio.ensure_future(thing.drain())
    await asyncio.sleep(0)
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    await thing.drain()
    assert cancelled == [1, 1]


async def test_emit_soon_lets_the_caller_add_handlers_first() -> None:
    thing = Thing()
    heard: list[Event] = []
    thing._hub.emit_soon(shutdown())
    thing.on("shutdown", heard.append)
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [shutdown()]


# ---- when a message has been handled


class Holds:
    """Counts how often a message is held, and let go."""

    def __init__(self) -> None:
        self.held = 0
        self.let_go = 0

    def hold(self) -> Callable[[], None]:
        self.held += 1
        return self._let_go

    def _let_go(self) -> None:
        self.let_go += 1


async def test_async_handlers_and_streams_hold_a_message_until_the_last_has_finished() -> None:
    thing, holds = Thing(), Holds()
    gate = asyncio.Event()

    @thing.on("message")
    async def slow(event: Message) -> None:
        await gate.wait()
        raise RuntimeError

    async with thing.events("message") as one, thing.events() as other:
        thing._hub.emit_messages(7, iter(["x"]), (), None, holds.hold)
        assert holds.held == 3
        thing.off("message", slow)
        assert await anext(one) == await anext(other) == Message(7, "x")
        assert holds.let_go == 0
        waiting = asyncio.ensure_future(anext(one))
        await asyncio.sleep(0)
        assert holds.let_go == 1
        other.close()
        assert holds.let_go == 2
        gate.set()
        await thing.drain()
        await asyncio.sleep(0)
        assert holds.let_go == 3
        waiting.cancel()


async def test_sync_handlers_and_wait_for_hold_nothing() -> None:
    thing, holds = Thing(), Holds()
    thing.on("message", lambda event: "a result")
    waiting = asyncio.ensure_future(thing.wait_for("message"))
    await asyncio.sleep(0)
    thing._hub.emit_messages(7, iter(["x"]), (), None, holds.hold)
    thing._hub.emit(Message(7, "y"), holds.hold)
    assert await waiting == Message(7, "x")
    assert holds.held == 0


async def test_a_closed_stream_lets_go_of_what_it_held() -> None:
    thing, holds = Thing(), Holds()
    async with thing.events("message") as stream:
        thing._hub.emit_messages(7, iter(range(5)), (), None, holds.hold)
        await anext(stream)
    assert (holds.held, holds.let_go) == (5, 5)
    stream.close()
    assert holds.let_go == 5


async def test_a_handler_that_is_cancelled_lets_go_a_little_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocluster._events.emitter._CANCELLED", 0.01)
    thing, holds = Thing(), Holds()
    thing.on("message", lambda event: asyncio.sleep(100))
    thing._hub.emit(Message(7, "x"), holds.hold)
    thing._hub.cancel()
    await thing.drain()
    await asyncio.sleep(0)
    assert holds.let_go == 0
    while not holds.let_go:
        await asyncio.sleep(0.002)


async def test_a_stream_that_nothing_reads_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aiocluster._events.stream._LIMIT", 10)
    thing = Thing()
    async with thing.events("shutdown", "message") as stream:
        for number in range(20):
            thing.emit(shutdown(number))
            thing.emit(Message(7, number))
        heard = [await anext(stream) for _ in range(30)]
        assert [event.deadline for event in heard if isinstance(event, Shutdown)] == list(range(10))
        assert [event.message for event in heard if isinstance(event, Message)] == list(range(20))
        thing.emit(shutdown(21))
        assert await anext(stream) == shutdown(21)
    assert [record.getMessage() for record in caplog.records] == [
        "a stream of events() holds 10 events that nothing takes; later ones are dropped"
    ]


# ---- wait_for


async def test_wait_for_returns_the_next_event_of_that_name() -> None:
    thing = Thing()
    thing.emit(shutdown(1))
    waiting = asyncio.ensure_future(thing.wait_for("shutdown"))
    await asyncio.sleep(0)
    thing.emit(Disconnect())
    thing.emit(shutdown(2))
    thing.emit(shutdown(3))
    assert await waiting == shutdown(2)
    assert not thing._hub.hears("shutdown")


async def test_wait_for_times_out_and_leaves_no_handler() -> None:
    thing = Thing()
    with pytest.raises(TimeoutError):
        await thing.wait_for("shutdown", timeout=0.01)
    with pytest.raises(TimeoutError):
        await thing.wait_for("shutdown", timeout=0)
    assert not thing._hub.hears("shutdown")


async def test_a_cancelled_wait_leaves_no_handler() -> None:
    thing = Thing()
    waiting = asyncio.ensure_future(thing.wait_for("shutdown"))
    await asyncio.sleep(0)
    assert thing._hub.hears("shutdown")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not thing._hub.hears("shutdown")


# ---- events


async def test_events_are_those_since_it_was_called_in_order() -> None:
    thing = Thing()
    thing.emit(shutdown(0))
    stream = thing.events("shutdown", "undelivered")
    thing.emit(shutdown(1))
    thing.emit(Disconnect())
    thing.emit(Undelivered(7, "x"))
    thing.emit(shutdown(2))
    heard = []
    async for event in stream:
        heard.append(event)
        if len(heard) == 3:
            break
    assert heard == [shutdown(1), Undelivered(7, "x"), shutdown(2)]


async def test_events_without_names_are_all_of_them() -> None:
    thing = Thing()
    async with thing.events() as stream:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        thing.emit(Disconnect())
        thing.emit(shutdown())
        assert await waiting == Disconnect()
        assert await anext(stream) == shutdown()


async def test_a_closed_or_forgotten_stream_hears_no_more() -> None:
    thing = Thing()
    async with thing.events("shutdown"):
        assert thing._hub.hears("shutdown")
    assert not thing._hub.hears("shutdown")
    stream = thing.events("shutdown")
    assert thing._hub.hears("shutdown")
    del stream
    gc.collect()
    assert not thing._hub.hears("shutdown")


async def test_two_streams_hear_the_same_each() -> None:
    thing = Thing()
    async with thing.events("shutdown") as one, thing.events("shutdown") as other:
        thing.emit(shutdown())
        assert await anext(one) == await anext(other) == shutdown()
