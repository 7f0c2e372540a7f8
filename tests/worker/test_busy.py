"""How busy an event loop is."""

from __future__ import annotations

import asyncio
import importlib
import selectors
import time
from collections.abc import Callable

import pytest
import uvloop

from aiocluster._worker.busy import BusyMeter, idle_time

NewLoop = Callable[[], asyncio.AbstractEventLoop]
both = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])


def block(seconds: float) -> None:
    time.sleep(seconds)


async def shares(meter: BusyMeter) -> list[float | None]:
    """What it tells of a loop that is blocked, that waits, and that does both for as long."""
    meter.start(asyncio.get_running_loop())
    block(0.1)
    blocked = meter.take()
    await asyncio.sleep(0.1)
    waiting = meter.take()
    for _ in range(10):
        block(0.02)
        await asyncio.sleep(0.02)
    return [blocked, waiting, meter.take()]


def check(blocked: float | None, waiting: float | None, mixed: float | None) -> None:
    assert blocked == 1.0
    assert waiting is not None
    assert waiting < 0.5  # 0.01 where nothing else runs
    assert mixed is not None
    assert 0.2 < mixed < 0.8


@both
def test_what_is_not_spent_waiting_is_busy(new_loop: NewLoop) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        check(*runner.run(shares(BusyMeter())))


@both
def test_time_between_two_runs_of_a_loop_does_not_count(new_loop: NewLoop) -> None:
    meter = BusyMeter()

    async def run() -> float | None:
        meter.start(asyncio.get_running_loop())
        await asyncio.sleep(0.05)
        return meter.take()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        for _ in range(3):
            share = runner.run(run())
            assert share is not None
            assert share < 0.5
            time.sleep(0.2)


@both
def test_a_loop_is_timed_once_however_often_it_runs(new_loop: NewLoop) -> None:
    meter = BusyMeter()

    async def run() -> object:
        loop = asyncio.get_running_loop()
        meter.start(loop)
        return meter._known[loop]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(run()) is runner.run(run())
        loop = runner.get_loop()
    del runner
    assert loop.is_closed()
    del loop
    assert not meter._known  # it keeps no loop


@both
def test_one_loop_after_another(new_loop: NewLoop) -> None:
    meter = BusyMeter()
    for _ in range(2):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            check(*runner.run(shares(meter)))


@both
def test_a_loop_that_never_waits_is_busy(new_loop: NewLoop) -> None:
    async def run() -> float | None:
        meter = BusyMeter()
        meter.start(asyncio.get_running_loop())
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            await asyncio.sleep(0)
        return meter.take()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        share = runner.run(run())
        assert share is not None
        assert share > 0.9


def test_of_other_loops_nothing_is_known() -> None:
    class Other(asyncio.AbstractEventLoop):
        pass

    meter = BusyMeter()
    meter.start(Other())  # type: ignore[abstract]
    assert meter.take() is None


class Slotted(selectors.SelectSelector):
    """A selector whose methods can't be replaced."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "select":
            raise AttributeError(name)
        super().__setattr__(name, value)


def test_of_a_selector_that_can_not_be_timed_nothing_is_known() -> None:
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(Slotted())) as runner:
        assert runner.run(shares(BusyMeter())) == [None, None, None]


def test_of_a_uvloop_that_hides_libuv_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(importlib.import_module("uvloop.loop"), "libuv_get_loop_t_ptr")
    loop = uvloop.new_event_loop()
    assert idle_time(loop) is None
    loop.close()
