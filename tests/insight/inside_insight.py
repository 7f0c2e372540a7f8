"""What runs in the workers of the tests of looking inside, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import AsyncIterator

import anyio

from aiocluster import current_worker
from aiocluster._worker import side
from aiocluster.events import Message
from aiocluster.logs import Handler


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def wait(seconds: float) -> None:
    time.sleep(seconds)


def wait_for_event(seconds: float) -> None:
    """As a thread that has nothing to do waits."""
    threading.Event().wait(seconds)


def hold(seconds: float) -> None:
    """Code in C that keeps the interpreter, and needs no processor."""
    ctypes.PyDLL(None).usleep(int(1e6 * seconds))


def hold_in_a_thread(seconds: float) -> None:
    """Again and again, while the loop has nothing to do."""

    def run() -> None:
        while True:
            time.sleep(0.1)
            hold(seconds)

    threading.Thread(target=run, daemon=True).start()


def stop_at_a_breakpoint(seconds: float) -> None:
    """What pdb does, without a person: its prompt is in `bdb`'s hands."""
    exec(compile("wait(seconds)", "bdb.py", "exec"), {"__name__": "bdb", "wait": wait, "seconds": seconds})


def nonsense(seconds: float) -> None:
    """Writes what is no frame on the side channel."""
    os.write(current_worker()._session.side.fileno(), b"\xff" * 100)


async def block_when_told() -> None:
    def told(event: Message) -> None:
        name, seconds = event.message
        globals()[name](seconds)

    worker = current_worker()
    worker.on("message", told)
    worker.handle_requests(lambda message, sender: message)
    await asyncio.get_running_loop().create_future()


async def leaf() -> None:
    await asyncio.Event().wait()


async def middle() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leaf(), name="first leaf")
        group.create_task(leaf(), name="second leaf")


async def with_tasks() -> None:
    """Tasks that wait for others in all the ways there are."""
    alone = asyncio.create_task(leaf(), name="alone")
    directly = asyncio.create_task(awaits(asyncio.create_task(leaf(), name="awaited")), name="awaits")
    shielded = asyncio.create_task(awaits_shielded(asyncio.create_task(leaf(), name="shielded")), name="shields")
    waited = asyncio.create_task(waits_for(asyncio.create_task(leaf(), name="waited for")), name="waits")
    timed = asyncio.create_task(waits_shortly(asyncio.create_task(leaf(), name="timed")), name="waits shortly")
    first = asyncio.create_task(waits_for_first(asyncio.create_task(leaf(), name="first")), name="waits for first")
    anyio_group = asyncio.create_task(with_anyio(), name="with anyio")
    group = asyncio.create_task(middle(), name="middle")
    await current_worker().send("ready")
    await asyncio.gather(group, directly, shielded, waited, timed, first, anyio_group)
    await alone


async def awaits(task: asyncio.Task[None]) -> None:
    await task


async def awaits_shielded(task: asyncio.Task[None]) -> None:
    await asyncio.shield(task)


async def waits_shortly(task: asyncio.Task[None]) -> None:
    await asyncio.wait_for(task, 1000.0)


async def waits_for_first(task: asyncio.Task[None]) -> None:
    for found in asyncio.as_completed([task]):
        await found


async def with_anyio() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(deep, 100, name="deep")


async def deep(further: int) -> None:
    if further > 0:
        await deep(further - 1)
    async for _ in generator():
        pass


async def generator() -> AsyncIterator[None]:
    await leaf()
    yield


async def waits_for(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


class Mute:
    def __repr__(self) -> str:
        raise LookupError


def _log(name: str) -> None:
    logger = logging.getLogger("shop")
    match name:
        case "failure":
            try:
                raise LookupError("no such table")
            except LookupError:
                extra = {"plain": [1, {"a": b"b"}], "odd": {1}, "mute": Mute()}
                text = "slot %d: 100%% of %r failed"
                logger.exception(text, current_worker().slot, "it", extra=extra)
            logger.warning("\udcff")
            logger.warning("x" * 1_000_000)
        case "gracefully" | "killed":
            for number in range(500):
                logger.info("line %d", number)
            if name == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            atexit.register(logger.info, "at exit")


async def log_when_told() -> None:
    logging.basicConfig(level=logging.DEBUG, handlers=[Handler()], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    worker = current_worker()

    async def told(event: Message) -> None:
        _log(event.message)
        await worker.disconnect()

    worker.on("message", told)
    worker.handle_requests(lambda message, sender: _log(message))
    await asyncio.get_running_loop().create_future()


async def log_without_end() -> None:
    """Logs on request until it has lost some records, but does not wait long for that."""
    handler = Handler()
    logger = logging.getLogger("shop")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    side._ROOM_WITHIN = 0.2
    numbers = itertools.count()

    def flood(message: str, sender: object) -> int:
        if message == "flood":
            for _ in range(1000):
                if handler._lost:
                    break
                logger.info("x" * 10_000, extra={"number": next(numbers)})
        else:
            logger.info("the last")
        return handler._lost

    current_worker().handle_requests(flood)
    await asyncio.get_running_loop().create_future()


async def log_once() -> None:
    logging.basicConfig(handlers=[Handler()])
    try:
        raise LookupError("no such table")
    except LookupError:
        logging.getLogger("shop").warning("the shop is open", exc_info=True)
    os.kill(os.getppid(), signal.SIGTERM)
    await asyncio.get_running_loop().create_future()
