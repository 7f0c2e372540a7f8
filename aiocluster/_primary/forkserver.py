"""The primary's side of a fork server: a warm interpreter that workers are forked from (``start_method="template"``).

::

    primary ──[FORK, number, {environment}] + channel, stdio──▶ fork server ──fork()──▶ worker
       ▲                                                           │                      │
       └──[FORKED, number, pid] … [ENDED, pid, code]───────────────┘                      │
       └───────────────────── the worker's own channel ───────────────────────────────────┘

A fork server imports ``preload`` and the target's module once, freezes its objects (`gc.freeze`), and then only forks.
If it dies, its workers keep running, but their exit codes are lost, and the next fork starts a new fork server. It is
killed if it does not fork in time, because it hangs or is stopped. A fork server that has been replaced, or whose
settings are no longer the current ones, ends when its last worker has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from .._processes.exit_status import ExitStatus
from .._processes.watch import ForeignProcess
from .._wire import frames
from .._wire.channel import Channel
from .._wire.frame import Dispatch, on
from ..errors import StartupError
from ..settings import Settings, Stdin
from .folders import Folders
from .launch import Child, open_streams, spawn_helper
from .relay import Relays

logger = logging.getLogger("aiocluster.forkserver")


class ForkServerError(StartupError):
    """A fork server has ended.

    Attributes:
        line: How.
        details: Its traceback, or the end of its stderr; may be empty.
        repeats: Why every other one would fail in the same way; None: others may do better.
        type_name: The class of the exception that ended it; empty if none did.
    """

    def __init__(self, line: str, details: str, repeats: str | None, type_name: str = "") -> None:
        self.line = line
        self.details = details
        self.repeats = repeats
        self.type_name = type_name
        super().__init__(f"{line}\n\n{details}".strip())


class ForkServer:
    """A fork server's process and the channel to it.

    Args:
        settings: The settings; ``executable``, ``exec_args``, ``env`` and ``cwd`` say how it is started.
        config: The worker config, which says what to import. Its workers get the same one.
        relays: Pass on its output, and that of its workers.
        folders: Where this process was started from.
        has_counted: Called with a packed report of what the process has counted while it imported.
    """

    def __init__(
        self,
        settings: Settings,
        config: frames.WorkerConfig,
        relays: Relays,
        folders: Folders,
        has_counted: Callable[[bytes], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._relays = relays
        self._has_counted = has_counted
        self._is_retired = False
        self._last_number = 0
        self._is_warm: asyncio.Future[None] = loop.create_future()
        self._forks: dict[int, asyncio.Future[ForeignProcess]] = {}
        self._workers: dict[int, ForeignProcess] = {}
        self._unclaimed: set[ForeignProcess] = set()  # forked for somebody who no longer waits, and killed
        self._gone: asyncio.Future[None] = loop.create_future()
        self._why_killed: StartupError | None = None
        self._failure: frames.Failed | None = None
        first_frame = config.encode()
        with spawn_helper(settings, "aiocluster._worker.forkserver", relays, folders) as (self._process, ours):
            self._channel = Channel(ours)
            dispatch = Dispatch(
                frames.FORK_SERVER,
                [
                    on(frames.Warm, self._on_warm),
                    on(frames.Forked, self._on_forked),
                    on(frames.Unforked, self._on_unforked),
                    on(frames.Ended, self._on_ended),
                    on(frames.Failed, self._on_failed),
                ],
            )
            self._channel.attach(loop, dispatch, self._on_channel_end)
        self._process.watch(self._on_exit)
        self._channel.send(first_frame)

    @property
    def is_usable(self) -> bool:
        """Whether it can still fork workers."""
        return not self._is_retired and not self._channel.is_closed

    async def fork(
        self,
        env: Mapping[str, str],
        channel: socket.socket,
        *,
        place: int | str,
        stdin: Stdin,
        silent: bool,
        timeout: float | None,
    ) -> Child:
        """Forks a worker.

        Args:
            env: The worker's complete environment, without the variables that name descriptors.
            channel: The worker's end of its channel.
            place: Its slot, or an agent's name.
            stdin: The setting ``stdin``.
            silent: The setting ``silent``.
            timeout: Seconds until the worker must have been forked, the import of the application included. After
                that the fork server is killed; its workers keep running. None: no limit.

        Raises:
            StartupError: The fork server has ended, failed to import the application, or took too long.
            OSError: The system can't start another process, or no descriptors are left.
        """
        self._last_number += 1
        number = self._last_number
        forked = self._forks[number] = asyncio.get_running_loop().create_future()
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await self._fork(number, forked, env, channel, place=place, stdin=stdin, silent=silent)
        except TimeoutError:
            if timeout is None or not limit.expired():
                raise
            raise self._kill_for_delay(timeout) from None
        finally:
            del self._forks[number]
            self._end_if_idle()

    async def _fork(
        self,
        number: int,
        forked: asyncio.Future[ForeignProcess],
        env: Mapping[str, str],
        channel: socket.socket,
        *,
        place: int | str,
        stdin: Stdin,
        silent: bool,
    ) -> Child:
        await asyncio.shield(self._is_warm)
        with open_streams(self._relays, place, stdin=stdin, silent=silent) as streams, ExitStack() as undo:
            fds = [channel.fileno(), *streams.theirs]
            if self._channel.is_closed:
                raise StartupError("the fork server has ended")
            self._channel.send(frames.Fork(number, len(fds), dict(env)).encode(), fds)
            undo.callback(self._channel.withdraw, fds)
            undo.callback(self._kill_if_forked, forked)
            child = Child(await forked, streams)
            undo.pop_all()
            return child

    def _kill_for_delay(self, timeout: float) -> StartupError:
        """Kills the fork server, which would let the next fork wait as long. Returns what to tell those who wait."""
        if self._why_killed is None:
            what = "forked a worker" if self._is_warm.done() else "imported the application"
            self._why_killed = StartupError(
                f"the fork server (pid {self._process.pid}) had not {what} after {timeout:g} seconds (start_timeout)"
                f"\n\n{self._process.last_words()}".strip()
            )
            self.kill()
        return self._why_killed

    def retire(self) -> None:
        """Takes no new forks. The process ends when its last worker has ended."""
        self._is_retired = True
        self._end_if_idle()

    def kill(self) -> None:
        """Ends the process at once. Its workers keep running."""
        self._is_retired = True
        self._process.send_signal(signal.SIGKILL)

    def _end_if_idle(self) -> None:
        if self._is_retired and not self._workers and not self._forks:
            self.kill()

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._gone.done()

    async def wait_gone(self) -> None:
        """Returns when the process has ended, and those that it has forked for nobody."""
        await asyncio.shield(self._gone)
        if self._unclaimed:
            await asyncio.wait([worker.ended for worker in self._unclaimed])

    # ---- frames from the fork server

    def _on_warm(self, frame: frames.Warm) -> None:
        if frame.counted:
            self._has_counted(frame.counted)
        self._is_warm.set_result(None)

    def _on_forked(self, frame: frames.Forked) -> None:
        self._workers[frame.pid] = worker = ForeignProcess(frame.pid)
        forked = self._forks.get(frame.number)
        if forked is not None and not forked.done():
            forked.set_result(worker)
        else:  # the caller was cancelled
            self._kill_unclaimed(worker)

    def _kill_if_forked(self, forked: asyncio.Future[ForeignProcess]) -> None:
        """Ends a worker that was forked for somebody who no longer waits for it."""
        if forked.done() and not forked.cancelled() and forked.exception() is None:
            self._kill_unclaimed(forked.result())

    def _kill_unclaimed(self, worker: ForeignProcess) -> None:
        worker.send_signal(signal.SIGKILL)
        self._unclaimed.add(worker)
        worker.ended.add_done_callback(lambda ended: self._forget_unclaimed(worker))

    def _forget_unclaimed(self, worker: ForeignProcess) -> None:
        self._unclaimed.discard(worker)
        worker.reap()

    def _on_unforked(self, frame: frames.Unforked) -> None:
        forked = self._forks.get(frame.number)
        if forked is not None and not forked.done():
            forked.set_exception(OSError(frame.errno, os.strerror(frame.errno)))

    def _on_ended(self, frame: frames.Ended) -> None:
        self._workers.pop(frame.pid).tell(frame.code)
        self._end_if_idle()

    def _on_failed(self, frame: frames.Failed) -> None:
        self._failure = frame

    def _on_channel_end(self, error: Exception | None) -> None:
        if not self._is_retired and self._failure is None:
            logger.error("the fork server (pid %d) has ended", self._process.pid)
        for worker in self._workers.values():
            worker.tell_no_more()
        self._workers.clear()

    def _on_exit(self, end: ExitStatus) -> None:
        was_warm = self._is_warm.done()
        text = self._process.last_words()
        self._channel.finish()
        when = "" if was_warm else " before it had imported the application"
        failure = self._failure
        ended = self._why_killed or ForkServerError(
            f"the fork server (pid {self._process.pid}) ended{when}, by {end}",
            text if failure is None else failure.traceback.strip(),
            None if failure is None else failure.repeats,
            "" if failure is None else failure.type_name,
        )
        waiting: list[asyncio.Future[Any]] = [self._is_warm, *self._forks.values()]
        for waited in waiting:
            if not waited.done():
                waited.set_exception(ended)
                waited.exception()  # mark it as retrieved, in case nothing awaits it
        self._gone.set_result(None)
