"""`ChildProcess`: a child process, seen from its parent."""

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

_GRACE = 5.0  # seconds between SIGTERM and SIGKILL in `aclose`


class ChildProcess(Link[ChildEvent], metaclass=NoConstructor, made_by="spawn() or fork()"):
    """A process started by `spawn` or `fork`, like Node's class of the same name.

    Use it in ``async with``, which ends the process on exit; see `aclose`. Without that or `aclose`, the process keeps
    running even after this program has ended. Its descriptors in this process are closed when it has ended and its
    streams have been read to the end.

    Its events are ``spawn``, ``message``, ``disconnect``, ``exit``, ``close``, ``error`` and ``undelivered``.

    Attributes:
        pid: The process id.
        spawn_file: The program that was started.
        spawn_args: Its arguments, including ``argv[0]``.
        detached: Whether it leads its own session and is not ended by `aclose`.
        stdin: Its stdin if that is a pipe; else None.
        stdout: Its stdout if that is a pipe; else None. If nobody reads it, the process blocks once the pipe is full.
        stderr: Its stderr, like ``stdout``.
        exit_code: Its exit code; None while it runs, or if a signal ended it.
        exit_signal: The signal that ended it; None while it runs, or if no signal ended it.
        killed: Whether `kill` has sent it a signal. It may still be running.
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

    # ---- ending it

    def kill(self, signal: signal.Signals | int = signal.SIGTERM) -> bool:
        """Sends a signal to this process, not to its children. Returns whether it was sent; False once it has ended.

        Raises:
            PermissionError: The process now runs as another user.
        """
        sent = self._is_watched and self._process.send_signal(signal)
        self.killed = self.killed or (sent and signal != 0)
        return sent

    async def wait(self) -> ChildExit:
        """Waits until the process has ended, and returns how. There may still be output to read.

        Raises:
            ClusterError: It is detached and has been closed, so it is no longer watched.
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

        A detached process is not ended: it keeps running and is no longer watched, and if it writes to one of these
        pipes it gets ``BrokenPipeError``. If this is cancelled, a process that is not detached is killed at once.
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
            self._exit.set_exception(ClusterError(f"{self!r} is detached and was closed: it is no longer watched"))
            self._exit.exception()  # mark it as retrieved, in case nothing awaits it

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
        """Lets async handlers finish, for five seconds at most; those of ``exit`` and ``close`` have just begun."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await self._hub.drain()
        if self._ending is not None:
            await asyncio.shield(self._ending)
