"""The process that keeps the state, as the primary sees it: started when it is first needed, and ended last.

::

    worker ──[OPEN_STATE]──▶ primary ──[SERVE_STATE] + one end──▶ state's process
       ▲                        │  ◀──[STATE_SERVED]──────────────────┘
       └──[STATE_OPENED] + the other end

If it crashes, its clients see the ends of their channels. Whoever asks next has it started again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from .._events.emitter import EventHub
from .._processes.exit_status import ExitStatus
from .._processes.stdio import open_channel
from .._state.url import scheme
from .._wire import frames
from .._wire.channel import Channel
from .._wire.frame import Dispatch, on
from ..errors import BackplaneError, ClusterError
from ..events import Error
from ..settings import Settings
from .folders import Folders
from .launch import spawn_helper
from .relay import Relays

logger = logging.getLogger("aiocluster.state")

_AT_LAST = 5.0  # seconds that it has to finish what it is at, when all others have ended
_ATTEMPTS = 3  # to reach a process that ends just now


class StateProcess:
    """The process that keeps the state of a cluster.

    Args:
        url: Where it keeps it: ``memory:`` or ``sqlite:///path``.
        settings: The current settings, which say how it is started.
        hub: Emits that it has crashed.
        relays: Pass on what it writes to stderr.
        folders: Where this process was started from.
        cluster: Returns the cluster's name, for the process title.
    """

    def __init__(
        self,
        url: str,
        settings: Callable[[], Settings],
        hub: EventHub,
        relays: Relays,
        folders: Folders,
        cluster: Callable[[], str],
    ) -> None:
        self._url = url
        self._settings = settings
        self._hub = hub
        self._relays = relays
        self._folders = folders
        self._cluster = cluster
        self._running: _Running | None = None
        self._all: set[_Running] = set()
        self._is_over = False

    @property
    def pid(self) -> int | None:
        """Its process id; None if it does not run."""
        return None if self._running is None else self._running.pid

    async def open(self) -> socket.socket:
        """Opens a channel to it, and starts it before if it does not run. Returns the client's end.

        Raises:
            BackplaneError: It can't keep the state there.
            ClusterError: It can't be started, or the cluster has stopped.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with open_channel() as (ours, theirs):
                    await self._run().serve(theirs)
                    return ours
            except _Gone as error:
                if attempt == _ATTEMPTS:
                    raise ClusterError(f"the state can't be had: {error}") from None
            except OSError as error:
                if isinstance(error, ClusterError):
                    raise
                raise ClusterError(f"the state can't be reached: {error}") from error
        raise AssertionError

    def _run(self) -> _Running:
        """Returns the process that runs; starts one if none does."""
        if self._is_over:
            raise ClusterError("the state is closed, because the cluster has stopped")
        if self._running is None or not self._running.is_usable:
            settings = self._settings()
            config = frames.StateConfig(
                url=self._url,
                cluster=self._cluster(),
                uid=settings.uid,
                gid=settings.gid,
                loop=settings.loop,
                primary_pid=os.getpid(),
            )
            try:
                self._running = _Running(settings, config, self._relays, self._folders, self._on_end)
            except OSError as error:
                raise ClusterError(f"the process that keeps the state can't be started: {error}") from error
            self._all.add(self._running)
        return self._running

    def _on_end(self, ended: _Running, end: ExitStatus) -> None:
        self._all.discard(ended)
        if self._running is ended:
            self._running = None
        if self._is_over or not ended.was_ready:
            return
        is_lost = "what was in memory is lost" if scheme(self._url) == "memory" else "nothing that was answered is lost"
        error = ClusterError(f"the process that keeps the state (pid {ended.pid}) has ended, by {end}: {is_lost}")
        logger.error("%s", error)
        self._hub.emit(Error(None, error))

    async def end(self) -> None:
        """Ends it. Call this when no one else needs it any more."""
        self._is_over = True
        for running in list(self._all):
            await running.end()


class _Gone(Exception):
    """The process has ended before it served."""


class _Running:
    """A process that keeps the state, from its start to its end."""

    def __init__(
        self,
        settings: Settings,
        config: frames.StateConfig,
        relays: Relays,
        folders: Folders,
        ended: Callable[[_Running, ExitStatus], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._ended = ended
        self._numbers = itertools.count(1)
        self._is_ready: asyncio.Future[None] = loop.create_future()
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._gone: asyncio.Future[None] = loop.create_future()
        self._failure: str | None = None
        first_frame = config.encode()
        with spawn_helper(settings, "aiocluster._state.process", relays, folders) as (self._process, ours):
            self._channel = Channel(ours)
            dispatch = Dispatch(
                frames.STATE,
                [
                    on(frames.StateReady, self._on_ready),
                    on(frames.StateFailed, self._on_failed),
                    on(frames.StateServed, self._on_served),
                ],
            )
            self._channel.attach(loop, dispatch, self._on_channel_end)
        self.pid: int = self._process.pid
        self._process.watch(self._on_exit)
        self._channel.send(first_frame)

    @property
    def is_usable(self) -> bool:
        """Whether it may still serve others."""
        return not self._channel.is_closed

    @property
    def was_ready(self) -> bool:
        """Whether it has ever been able to serve."""
        return self._is_ready.done() and self._is_ready.exception() is None

    async def serve(self, sock: socket.socket) -> None:
        """Has it serve a client at the other end of this socket, which stays the caller's.

        Raises:
            BackplaneError: It can't keep the state where it should.
            _Gone: It has ended.
        """
        await asyncio.shield(self._is_ready)
        if self._channel.is_closed:
            raise _Gone("its process has ended")
        number = next(self._numbers)
        served = self._asked[number] = asyncio.get_running_loop().create_future()
        fds = [sock.fileno()]
        try:
            self._channel.send(frames.ServeState(number).encode(), fds)
            await served
        finally:
            del self._asked[number]
            self._channel.withdraw(fds)

    async def end(self) -> None:
        """Closes its channel, by which it ends; kills it if it takes too long."""
        self._channel.flush()
        self._channel.close()
        try:
            async with asyncio.timeout(_AT_LAST):
                await asyncio.shield(self._gone)
        except TimeoutError:
            logger.error("the process that keeps the state (pid %d) has not ended in time: SIGKILL", self.pid)
            self._process.send_signal(signal.SIGKILL)
            await self._gone
        except asyncio.CancelledError:
            self._process.send_signal(signal.SIGKILL)
            raise

    # ---- what it tells

    def _on_ready(self, frame: frames.StateReady) -> None:
        if not self._is_ready.done():
            self._is_ready.set_result(None)

    def _on_failed(self, frame: frames.StateFailed) -> None:
        self._failure = frame.text

    def _on_served(self, frame: frames.StateServed) -> None:
        asked = self._asked.get(frame.number)
        if asked is not None and not asked.done():
            asked.set_result(None)

    def _on_channel_end(self, error: Exception | None) -> None:
        if error is not None:
            logger.error("the process that keeps the state (pid %d) is killed: %s", self.pid, error)
        if self._failure is None:
            # The end of its channel is the end of it, or it would keep what nobody reaches.
            self._process.send_signal(signal.SIGKILL)
        else:
            self._fail(BackplaneError(self._failure))

    def _on_exit(self, end: ExitStatus) -> None:
        self._channel.finish()
        words = self._process.last_words()
        self._fail(_Gone(f"its process (pid {self.pid}) has ended, by {end}\n\n{words}".strip()))
        self._gone.set_result(None)
        self._ended(self, end)

    def _fail(self, error: Exception) -> None:
        waiting: list[asyncio.Future[Any]] = [self._is_ready, *self._asked.values()]
        for one in waiting:
            if not one.done():
                one.set_exception(error)
                one.exception()  # marks it as retrieved, in case nobody waits
