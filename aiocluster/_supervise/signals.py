"""Runs the actions that ``serve_forever`` assigns to signals."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping

from ..errors import ClusterError

logger = logging.getLogger("aiocluster.cluster")

Action = Callable[[], Awaitable[None]]


async def until(over: asyncio.Event, actions: Mapping[signal.Signals, Action]) -> None:
    """Runs the action of each signal received, until ``over`` is set. Actions run concurrently.

    It returns when the actions that have begun are done. An action that fails is logged.

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

    def on_signal(number: signal.Signals) -> None:
        logger.info("received %s", number.name)
        task = loop.create_task(act(number))
        running.add(task)
        task.add_done_callback(running.discard)

    try:
        for number in actions:
            loop.add_signal_handler(number, on_signal, number)
        await over.wait()
        while running:
            await asyncio.wait(running)
    finally:
        for number in actions:
            loop.remove_signal_handler(number)
        for task in running:
            task.cancel()
