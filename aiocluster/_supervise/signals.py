"""What a cluster does at signals, from the first instant of its ``async with`` block to the last.

=================  ===========================================  =================================================
signal             while `Cluster.serve_forever` runs           else
=================  ===========================================  =================================================
SIGINT, SIGTERM    graceful stop                                the task that has entered the block is cancelled
the second one     stop at once                                 as before, and stop at once
SIGQUIT            stop at once                                 as before, and stop at once
SIGHUP             reload; where the terminal is lost: SIGTERM  the same
SIGTTIN, SIGTTOU   one worker more, one fewer                   the same
=================  ===========================================  =================================================

What changes the workers begins when the first ones are up. Once the block is being left, nothing is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ClusterError
from .handlers import HANDLERS

logger = logging.getLogger("aiocluster.cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """What signals ask of a cluster."""

    stop: Callable[[bool], Awaitable[None]]
    skip_drain_delay: Callable[[], bool]
    reload: Callable[[], Awaitable[None]]
    resize: Callable[[int], Awaitable[None]]
    patience: Callable[[], float]
    """Returns how many seconds a graceful stop may take."""


class Signals:
    """One cluster's share of the signals.

    Args:
        commands: What it asks of the cluster.

    Attributes:
        has_ended_it: Whether a signal has asked for the cluster's end.
    """

    def __init__(self, commands: Commands) -> None:
        self.has_ended_it: bool = False
        self._commands = commands
        self._task: asyncio.Task[Any] | None = None
        self._served = 0
        self._is_up = asyncio.Event()
        self._is_leaving = False
        self._had_terminal = False
        self._running: set[asyncio.Task[None]] = set()

    # ---- the block

    def begin(self) -> None:
        """Listens from now on, for the current task. The caller must call `end` later.

        Raises:
            OSError: No descriptor is left.
        """
        self._task = asyncio.current_task()
        self._had_terminal = _has_terminal()
        HANDLERS.add(self.hear)

    def up(self) -> None:
        """Says that the first workers are up."""
        self._is_up.set()

    def leaving(self) -> None:
        """Says that the block is being left."""
        self._is_leaving = True

    async def end(self) -> None:
        """Listens no more. What has begun is cancelled: nothing is left that it could change."""
        HANDLERS.remove(self.hear)
        for task in self._running:
            task.cancel()
        await self.done()

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """While `Cluster.serve_forever` runs."""
        task = self._task
        assert task is not None
        self._served += 1
        HANDLERS.serving.append(task)
        try:
            yield
        finally:
            self._served -= 1
            HANDLERS.serving.remove(task)

    async def done(self) -> None:
        """Returns when all that signals have begun is done."""
        while self._running:
            await asyncio.wait(self._running)

    # ---- signals

    def hear(self, number: signal.Signals) -> None:
        """Does what this signal asks for. It need not have been sent: the control socket asks for the same."""
        logger.debug("received %s", number.name)
        commands = self._commands
        match number:
            case signal.SIGTTIN:
                self._start(number, lambda: commands.resize(+1), when_up=True)
            case signal.SIGTTOU:
                self._start(number, lambda: commands.resize(-1), when_up=True)
            case signal.SIGHUP if not self._has_lost_terminal():
                self._start(number, commands.reload, when_up=True)
            case _:
                self._end_it(number)

    def _has_lost_terminal(self) -> bool:
        if not self._had_terminal or _has_terminal():
            return False
        logger.warning("the terminal is gone: the cluster stops")
        return True

    def _end_it(self, number: signal.Signals) -> None:
        if self.has_ended_it and number != signal.SIGQUIT and self._commands.skip_drain_delay():
            logger.info("%s: the drain delay is over", number.name)
            return
        is_at_once = self.has_ended_it or number == signal.SIGQUIT
        self.has_ended_it = True
        if is_at_once:
            logger.info("%s: stopping at once", number.name)
        else:
            seconds = self._commands.patience()
            logger.info("%s: stopping, up to %g s; once more to stop at once", number.name, seconds)
        if is_at_once:
            self._start(number, lambda: self._commands.stop(False))
        elif self._served:
            self._start(number, lambda: self._commands.stop(True))
        task = self._task
        if self._is_leaving or task is None or task in HANDLERS.serving:
            return
        if task.done():  # another one will leave the block
            self._start(number, lambda: self._commands.stop(not is_at_once))
        elif number == signal.SIGINT:
            HANDLERS.interrupt(task)
        else:
            task.cancel(f"received {number.name}")

    def _start(self, number: signal.Signals, command: Callable[[], Awaitable[None]], *, when_up: bool = False) -> None:
        async def run() -> None:
            try:
                if when_up:
                    await self._is_up.wait()
                await command()
            except (ClusterError, OSError, ValueError) as error:
                is_overtaken = isinstance(error, ClusterError) and (self.has_ended_it or self._is_leaving)
                logger.log(logging.INFO if is_overtaken else logging.ERROR, "%s: %s", number.name, error)

        task = asyncio.get_running_loop().create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal, which can be read and written."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
