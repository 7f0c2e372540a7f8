"""Templates: warm interpreters that workers are forked from.

::

    primary ──[FORK, number, {environment}] + channel, stdio──▶ template ──fork()──▶ worker
       ▲                                                           │                    │
       └──[FORKED, number, pid] … [ENDED, pid, code]───────────────┘                    │
       └───────────────────── the worker's own channel, as ever ────────────────────────┘

A template imports ``preload`` and the target's module once, freezes what it has (`gc.freeze`), and forks: it takes no
part in anything else. If it dies its workers live on, but nobody learns of their exit codes; the next fork starts a new
template. One that has been replaced ends with its last worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping

from .._processes.exit_status import ExitStatus, exit_status
from .._wire import frames
from .._wire.channel import Channel
from .._wire.dispatch import Dispatch, on
from ..errors import StartupError
from ..settings import Settings
from .launch import CHANNEL_FD, Child, SpawnedChild, Stdio, command, open_stdio

logger = logging.getLogger("aiocluster.template")


class Template:
    """One warm interpreter.

    Args:
        settings: How it is started: executable, exec_args, env, cwd.
        config: What it imports; the same that its workers are told.
    """

    def __init__(self, settings: Settings, config: frames.WorkerConfig) -> None:
        loop = asyncio.get_running_loop()
        self._is_retired = False
        self._last_number = 0
        self._is_warm: asyncio.Future[None] = loop.create_future()
        self._forks: dict[int, asyncio.Future[ForkedChild]] = {}
        self._children: dict[int, ForkedChild] = {}
        self._gone: asyncio.Future[None] = loop.create_future()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                with open_stdio(silent=False) as stdio:
                    popen = subprocess.Popen(
                        command(settings, "forkserver"),
                        stderr=stdio.early_stderr,
                        cwd=settings.cwd,
                        pass_fds=(theirs.fileno(),),
                        env={**os.environ, **(settings.env or {}), CHANNEL_FD: str(theirs.fileno())},
                    )
                    self._process = SpawnedChild(popen, stdio)
            except BaseException:
                ours.close()
                raise
        self._channel = Channel(ours)
        dispatch = Dispatch(
            frames.FORK_SERVER,
            [
                on(frames.Warm, self._on_warm),
                on(frames.Forked, self._on_forked),
                on(frames.Unforked, self._on_unforked),
                on(frames.Ended, self._on_ended),
            ],
        )
        self._channel.attach(loop, dispatch, self._on_channel_end)
        self._process.watch(self._on_exit)
        self._channel.send(config.encode())

    @property
    def is_usable(self) -> bool:
        """Whether it can be asked to fork."""
        return not self._is_retired and not self._channel.is_closed

    async def fork(self, env: Mapping[str, str], channel: socket.socket, *, silent: bool) -> Child:
        """Forks a worker.

        Args:
            env: Its whole environment, but for the descriptors in it.
            channel: Its end of the channel.
            silent: Whether its output is piped.

        Raises:
            StartupError: The template could not import what it should, or has ended.
            OSError: There is no room for another process.
        """
        await asyncio.shield(self._is_warm)
        self._last_number += 1
        number = self._last_number
        forked = self._forks[number] = asyncio.get_running_loop().create_future()
        try:
            with open_stdio(silent=silent) as stdio:
                fds = [channel.fileno(), stdio.early_stderr.fileno(), stdio.stderr_write]
                if stdio.stdout_write is not None:
                    fds.append(stdio.stdout_write)
                if self._channel.is_closed:
                    raise StartupError("the template that workers are forked from has ended")
                self._channel.send(frames.Fork(number, dict(env)).encode(), fds)
                child: ForkedChild = await forked
                child.adopt(stdio)
                return child
        finally:
            self._forks.pop(number, None)

    def retire(self) -> None:
        """Forks no more; it ends with its last worker."""
        self._is_retired = True
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._is_retired and not self._children and not self._forks:
            self._process.send_signal(signal.SIGKILL)

    @property
    def is_gone(self) -> bool:
        """Whether its process has ended."""
        return self._gone.done()

    async def wait_gone(self) -> None:
        """Returns when its process has ended."""
        await asyncio.shield(self._gone)

    # ---- what it says

    def _on_warm(self, frame: frames.Warm) -> None:
        self._process.close()
        self._is_warm.set_result(None)

    def _on_forked(self, frame: frames.Forked) -> None:
        self._children[frame.pid] = child = ForkedChild(frame.pid)
        forked = self._forks.get(frame.number)
        if forked is not None and not forked.done():
            forked.set_result(child)
        else:  # the caller was cancelled
            child.send_signal(signal.SIGKILL)

    def _on_unforked(self, frame: frames.Unforked) -> None:
        forked = self._forks.get(frame.number)
        if forked is not None and not forked.done():
            forked.set_exception(OSError(frame.errno, os.strerror(frame.errno)))

    def _on_ended(self, frame: frames.Ended) -> None:
        child = self._children.pop(frame.pid)
        child.end(exit_status(frame.code))
        self._end_if_idle()

    def _on_channel_end(self, error: Exception | None) -> None:
        if not self._is_retired:
            logger.error("the template that workers are forked from (pid %d) has ended", self._process.pid)
        for child in self._children.values():
            child.watch_by_itself()
        self._children.clear()

    def _on_exit(self, end: ExitStatus) -> None:
        text = self._process.take_early_stderr().strip()
        self._channel.finish()
        ended = StartupError(f"the template that workers are forked from ended\n\n{text}")
        if not self._is_warm.done():
            self._is_warm.set_exception(ended)
            self._is_warm.exception()  # seen, should nobody wait for it
        for forked in self._forks.values():
            if not forked.done():
                forked.set_exception(ended)
        self._gone.set_result(None)


class ForkedChild(Child):
    """A template's child: its end is heard from the template."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1
        self._end: ExitStatus | None = None
        self._ended: Callable[[ExitStatus], None] | None = None

    def adopt(self, stdio: Stdio) -> None:
        """These are its streams."""
        super().__init__(self.pid, stdio)

    def watch(self, ended: Callable[[ExitStatus], None]) -> None:
        self._ended = ended
        if self._end is not None:
            asyncio.get_running_loop().call_soon(ended, self._end)

    def send_signal(self, number: int) -> None:
        if self._end is None:
            try:
                if self._pidfd >= 0:
                    signal.pidfd_send_signal(self._pidfd, number)
                else:
                    os.kill(self.pid, number)
            except ProcessLookupError:
                pass  # it has ended, and the template is about to say so

    def end(self, end: ExitStatus) -> None:
        """It has ended."""
        self._end = end
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._ended is not None:
            self._ended(end)

    def watch_by_itself(self) -> None:
        """The template is gone: its end is still seen, how it ended is not."""
        loop = asyncio.get_running_loop()
        if self._pidfd < 0:  # without pidfds, a channel that hangs up has to do
            self.end(ExitStatus(None, None))
            return

        def ended() -> None:
            loop.remove_reader(self._pidfd)
            self.end(ExitStatus(None, None))

        loop.add_reader(self._pidfd, ended)
