"""What runs in the workers of the tests of looking inside, who import no more than this when they start."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import time

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


def nonsense(seconds: float) -> None:
    """Writes what is no frame on the side channel."""
    os.write(current_worker()._session.side.fileno(), b"\xff" * 100)


async def block_when_told() -> None:
    def told(event: Message) -> None:
        name, seconds = event.message
        {"wait": wait, "compute": compute, "nonsense": nonsense}[name](seconds)

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
    group = asyncio.create_task(middle(), name="middle")
    await current_worker().send("ready")
    await asyncio.gather(group, directly, shielded, waited)
    await alone


async def awaits(task: asyncio.Task[None]) -> None:
    await task


async def awaits_shielded(task: asyncio.Task[None]) -> None:
    await asyncio.shield(task)


async def waits_for(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


def _log(name: str) -> None:
    logger = logging.getLogger("shop")
    match name:
        case "failure":
            try:
                raise LookupError("no such table")
            except LookupError:
                extra = {"plain": [1, {"a": b"b"}], "odd": {1}}
                text = "slot %d: 100%% of %r failed"
                logger.exception(text, current_worker().slot, "it", extra=extra)
            logger.warning("\udcff")
            logger.warning("x" * 1_000_000)
        case "gracefully" | "killed":
            for number in range(500):
                logger.info("line %d", number)
            if name == "killed":
                os.kill(os.getpid(), signal.SIGKILL)


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
