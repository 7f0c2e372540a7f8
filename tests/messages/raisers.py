"""Functions of workers that raise whatever they are told to, for `test_raising`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from aiocluster import current_worker
from tests.support.raising import raise_one, raise_one_later

heard: list[Any] = []
errors: list[str] = []
_last = asyncio.Event()
_raised = ""


async def stay() -> None:
    """The workers' target."""
    await asyncio.get_running_loop().create_future()


# ---- messages


async def raise_when_told(number: int) -> None:
    """Three handlers of messages: two raise at one message, and the last one keeps all of them."""
    worker = current_worker()

    def fail(event: Any) -> None:
        if event.message[0] == number:
            raise_one(_raised)

    async def fail_later(event: Any) -> None:
        if event.message[0] == number:
            await raise_one_later(_raised)

    def keep(event: Any) -> None:
        heard.append(event.message[0])
        if event.message[0] < 0:
            _last.set()

    worker.on("error", lambda event: errors.append(type(event.error).__name__))
    worker.on("message", fail)
    worker.on("message", fail_later)
    worker.on("message", keep)


async def raise_from_now_on(what: str) -> None:
    """What these handlers raise. What was heard before is forgotten."""
    global _raised
    _raised = what
    heard.clear()
    errors.clear()
    _last.clear()


async def heard_until_the_last() -> list[Any]:
    await _last.wait()
    return heard


async def failures() -> list[str]:
    while len(errors) < 2:
        await asyncio.sleep(0.002)
    return errors


async def send_numbers(pid: int, count: int) -> None:
    """``[n, filling]`` for each, then ``[-1]``."""
    for n in range(count):
        await current_worker().send_to(pid, [n, "x" * 200])
    await current_worker().send_to(pid, [-1])


# ---- requests


async def answer() -> None:
    """Answers a request ``[how, what]`` by raising it."""

    async def forward(what: str) -> AsyncIterator[None]:
        await raise_one_later(what)
        yield

    async def of_a_generator(what: str) -> None:
        async for _ in forward(what):
            pass

    def handle(message: Any, sender: int) -> Any:
        how, what = message
        match how:
            case "now":
                return raise_one(what)
            case "later":
                return raise_one_later(what)
            case "of a generator":
                return of_a_generator(what)
            case "cancelled":
                return asyncio.sleep(100)
        return message

    current_worker().handle_requests(handle)


async def cancel_all_tasks() -> None:
    """Cancels all but the main task and this one, as code that ends its own work carelessly does."""
    worker = current_worker()
    for task in asyncio.all_tasks() - {asyncio.current_task(), worker._session.main}:
        task.cancel()


def stop_iteration() -> Any:
    return next(iter(()))


async def stop_iteration_async() -> Any:
    return next(iter(()))


def very_long() -> None:
    raise ValueError("x" * 80_000_000)


def in_a_thread() -> bool:
    return threading.current_thread() is not threading.main_thread()
