"""Whose exception it is: a function's own, or one that a signal or a cancellation brought."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import uvloop

from aiocluster._interruption import ends_task, is_interruption, pass_on_interruption
from tests.support.raising import TYPES, raise_one


@pytest.fixture(autouse=True)
def handlers_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


def interrupt_soon() -> None:
    threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()


def spin() -> None:
    """Is hit between two instructions."""
    interrupt_soon()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        pass


def sleep() -> None:
    """Is hit in a system call."""
    interrupt_soon()
    time.sleep(20)


def hand_on() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        raise error


@pytest.mark.parametrize("what", TYPES)
def test_what_a_function_raises_is_its_own(what: str) -> None:
    assert not is_interruption(raised(partial(raise_one, what)))


@pytest.mark.parametrize("hit", [spin, sleep, partial(signal.raise_signal, signal.SIGINT), hand_on])
def test_what_pythons_handler_of_sigint_raises_is_an_interruption(hit: Callable[[], None]) -> None:
    error = raised(hit)
    assert isinstance(error, KeyboardInterrupt)
    assert is_interruption(error)


class Stopping:
    def method(self, number: int, frame: object) -> None:
        sys.exit(number)

    def __call__(self, number: int, frame: object) -> None:
        sys.exit(number)


def stop(number: int, frame: object, code: int = 0) -> None:
    sys.exit(code)


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "handler", [stop, interrupt, lambda number, frame: sys.exit(), partial(stop, code=2), Stopping(), Stopping().method]
)
def test_what_a_users_signal_handler_raises_is_an_interruption(handler: Any) -> None:
    signal.signal(signal.SIGUSR1, handler)
    assert is_interruption(raised(lambda: signal.raise_signal(signal.SIGUSR1)))


def test_the_second_ctrl_c_under_asyncio_run_is_an_interruption() -> None:
    found: list[bool] = []

    async def main() -> None:
        signal.raise_signal(signal.SIGINT)  # cancels this task
        found.append(is_interruption(raised(lambda: signal.raise_signal(signal.SIGINT))))
        await asyncio.sleep(0)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert found == [True]


def test_in_another_thread_nothing_is_an_interruption() -> None:
    signal.signal(signal.SIGUSR1, stop)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_interruption(raised(partial(stop, 0, None)))))
    thread.start()
    thread.join()
    assert found == [False]


# ---- what ends a task


async def own_cancellation() -> bool:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    try:
        await future
    except asyncio.CancelledError as error:
        return ends_task(error, asyncio.current_task())
    return False


async def test_the_cancellation_of_something_else_does_not_end_the_task() -> None:
    assert not await own_cancellation()


async def test_the_cancellation_of_the_task_ends_it() -> None:
    found: list[bool] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError as error:
            found.append(ends_task(error, asyncio.current_task()))

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert found == [True]


async def test_a_timeout_that_is_over_does_not_end_the_task() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.sleep(100)
    assert not await own_cancellation()


async def test_a_coroutine_that_is_closed_ends() -> None:
    found: list[bool] = []

    async def wait(task: asyncio.Task[Any]) -> None:
        try:
            await asyncio.sleep(100)
        except GeneratorExit as error:
            found.append(ends_task(error, task))
            raise

    other = asyncio.ensure_future(asyncio.sleep(0))
    coroutine = wait(other)
    coroutine.send(None)
    coroutine.close()
    assert found == [True]
    assert not ends_task(raised(partial(raise_one, "GeneratorExit")), asyncio.current_task())
    await other


# ---- raised out of the loop


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_interruption_is_raised_out_of_the_loop_and_the_loop_can_go_on(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    signal.signal(signal.SIGUSR1, interrupt)
    loop = new_loop()
    done: list[str] = []

    async def main() -> None:
        assert pass_on_interruption(raised(partial(signal.raise_signal, signal.SIGUSR1)))
        assert not pass_on_interruption(KeyboardInterrupt())
        done.append("this turn is finished")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done.append("and the task goes on")

    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    assert done == ["this turn is finished"]
    loop.run_until_complete(task)
    assert done == ["this turn is finished", "and the task goes on"]
    loop.close()


def test_without_a_loop_it_is_raised_at_once() -> None:
    signal.signal(signal.SIGUSR1, stop)
    with pytest.raises(SystemExit):
        pass_on_interruption(raised(partial(signal.raise_signal, signal.SIGUSR1)))
