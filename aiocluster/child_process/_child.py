"""A child, as its parent sees it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from anyio.abc import ByteReceiveStream, ByteSendStream

from .._events.emitter import ChildEvent
from .._no_constructor import NoConstructor
from .._processes.exit_status import ExitStatus
from .._processes.stdio import Stdio
from .._processes.watch import OwnProcess, to_the_end
from .._wire.inbox import Inbox
from ..errors import ClusterError
from ..events import ChildExit, Close, Spawn
from ._link import Link

_GRACE = 5.0  # seconds between SIGTERM and SIGKILL when a child is closed


class ChildProcess(Link[ChildEvent], metaclass=NoConstructor, made_by="spawn() or fork()"):
    """A process that `spawn` or `fork` has started, as Node's class of that name.

    Use it as ``async with``: leaving that ends the process, see `aclose`. Otherwise nothing does: it runs on, also when
    this program ends. Its descriptors here are closed when it has ended and its streams have been read to their ends.

    Its events are ``spawn``, ``message``, ``disconnect``, ``exit``, ``close``, ``error`` and ``undelivered``.

    Attributes:
        pid: Its process id.
        spawn_file: The program that was started.
        spawn_args: Its arguments, from the zeroth on.
        detached: Whether it leads a session of its own and is not ended from here.
        stdin: Its standard input, if that is a pipe; else None.
        stdout: Its standard output, if that is a pipe; else None. What nobody reads stops it once the pipe is full.
        stderr: Its standard error, likewise.
        exit_code: Its exit code; None while it runs, or if a signal ended it.
        exit_signal: The signal that ended it; None while it runs, or if it ended by itself.
        killed: Whether `kill` has sent it a signal. It may run on nevertheless.
    """

    def __init__(
        self,
        process: OwnProcess,
        stdio: Stdio,
        channel: socket.socket | None,
        *,
        spawn_file: str,
        spawn_args: Sequence[str],
        detached: bool,
        timeout: float | None,
        kill_signal: int,
    ) -> None:
        super().__init__(channel, process.pid, f"the child with pid {process.pid}", Inbox())
        self.spawn_file = spawn_file
        self.spawn_args: tuple[str, ...] = tuple(spawn_args)
        self.detached = detached
        self.stdin: ByteSendStream | None = stdio.stdin
        self.stdout: ByteReceiveStream | None = stdio.stdout
        self.stderr: ByteReceiveStream | None = stdio.stderr
        self.exit_code: int | None = None
        self.exit_signal: signal.Signals | None = None
        self.killed: bool = False
        self._process = process
        self._stdio = stdio
        loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[ChildExit] = loop.create_future()
        self._is_watched = True
        self._timer = loop.call_later(timeout, self.kill, kill_signal) if timeout is not None else None
        for pipe in (stdio.stdout, stdio.stderr):
            if pipe is not None:
                pipe.when_closed(self._close_if_over)
        process.ended.add_done_callback(self._on_ended)
        self._attach(loop)
        loop.call_soon(self._emit, Spawn(self))

    def __repr__(self) -> str:
        state = f"code {self.exit_code}, signal {self.exit_signal}" if self._has_ended() else "running"
        return f"<ChildProcess {self.pid}, {self.spawn_file}, {state}>"

    # ---- its end

    def kill(self, signal: signal.Signals | int = signal.SIGTERM) -> bool:
        """Sends it a signal, and its own children none; says whether it could: not once it has ended.

        Raises:
            PermissionError: It has become another user's.
        """
        sent = self._is_watched and self._process.send_signal(signal)
        self.killed = self.killed or (sent and signal != 0)
        return sent

    async def wait(self) -> ChildExit:
        """Returns how it ended, as soon as it has; its output may still wait to be read.

        Raises:
            ClusterError: It is detached and has been closed, so nobody here will hear of its end.
        """
        return await asyncio.shield(self._exit)

    def _has_ended(self) -> bool:
        return ChildExit.name in self._once

    def _on_ended(self, future: asyncio.Future[ExitStatus]) -> None:
        if not self._is_watched:
            return
        ended = future.result()
        self._process.reap()
        if self._timer is not None:
            self._timer.cancel()
        if self._channel is not None:
            self._channel.finish()
        if self._stdio.stdin is not None:
            self._stdio.stdin.close()
        self.exit_code, self.exit_signal = ended.code, ended.signal
        event = ChildExit(self, ended.code, ended.signal)
        self._exit.set_result(event)
        self._emit(event)
        self._close_if_over()

    def _close_if_over(self) -> None:
        streams = (self._stdio.stdout, self._stdio.stderr)
        is_over = self._has_ended() and all(pipe is None or pipe.is_closed for pipe in streams)
        if is_over and Close.name not in self._once:
            self._emit(Close(self, self.exit_code, self.exit_signal))

    # ---- closing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes its streams and its channel, and ends it: by SIGTERM, and five seconds later by SIGKILL. Idempotent.

        A detached one is left to itself instead: it runs on, its end is heard of no more, and what it writes to a pipe
        of ours raises ``BrokenPipeError`` there. If this is cancelled, a child that is not detached is killed at once.
        """
        if self._timer is not None:
            self._timer.cancel()
        try:
            if self.detached:
                self._leave_alone()
            else:
                await self._end()
        finally:
            self._stdio.close()
            self._hang_up()
            self._hub.close()
            await self._drain()

    def _leave_alone(self) -> None:
        if self._is_watched and not self._has_ended():
            self._is_watched = False
            self._process.release()
            self._exit.set_exception(ClusterError(f"{self!r} is detached and was closed: nobody hears of its end"))
            self._exit.exception()  # seen: nobody may be waiting

    async def _end(self) -> None:
        if self._stdio.stdin is not None:
            self._stdio.stdin.close()
        try:
            if self.kill():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GRACE):
                        await self.wait()
        finally:
            self._process.send_signal(signal.SIGKILL)
            await to_the_end(self._wait())

    async def _wait(self) -> None:
        await self.wait()

    async def _drain(self) -> None:
        """Lets async handlers finish, those of ``exit`` and ``close`` have only just begun; but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self._hub.drain()
        if self._ending is not None:
            await asyncio.shield(self._ending)
