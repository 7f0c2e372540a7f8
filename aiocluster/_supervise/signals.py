"""What ``serve_forever`` does at a signal, as a table."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping

from ..errors import ClusterError

logger = logging.getLogger("aiocluster.cluster")

Action = Callable[[], Awaitable[None]]


async def until(over: asyncio.Event, actions: Mapping[signal.Signals, Action]) -> None:
    """Does, at each of these signals, what the table says, until ``over`` is set. Actions run side by side.

    It returns when the actions that have begun are done. One that fails is logged.

    Raises:
        ValueError: This is not the main thread, where Python handles signals.
    """
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    async def act(number: signal.Signals) -> None:
        try:
            await actions[number]()
        except (ClusterError, OSError, ValueError) as error:
            logger.error("%s: %s", number.name, error)

    def heard(number: signal.Signals) -> None:
        logger.info("heard %s", number.name)
        task = loop.create_task(act(number))
        running.add(task)
        task.add_done_callback(running.discard)

    try:
        for number in actions:
            loop.add_signal_handler(number, heard, number)
        await over.wait()
        while running:
            await asyncio.wait(running)
    finally:
        for number in actions:
            loop.remove_signal_handler(number)
        for task in running:
            task.cancel()
