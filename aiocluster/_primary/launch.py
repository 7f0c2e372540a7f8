"""Starts a worker: its command line, its environment, and the file for its early stderr."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .._processes import start
from .._processes.environment import CHANNEL_FD, STDERR_FD, WORKER_ID
from .._processes.exit_status import ExitStatus
from .._processes.signals import OURS, blocked
from .._processes.stdio import PipeReader, Stdio, open_stdio
from .._processes.watch import Process
from ..settings import Settings

_PACKAGE_PARENT = str(Path(__file__).parent.parent.parent)
_TAIL = 4096  # bytes: an error text quotes at most this much of stderr


@dataclass(frozen=True, slots=True)
class Streams:
    """The standard streams of a worker that is about to start.

    Until the worker is online, its stderr is a file, so that an error can quote it. The bootstrap then copies the file
    to the real stderr and switches to that.

    Attributes:
        stdio: Pipes if the worker is silent; else this process's streams.
        stderr: The descriptor of the real stderr.
        early_stderr: The file.
    """

    stdio: Stdio
    stderr: int
    early_stderr: IO[bytes]

    @property
    def theirs(self) -> start.Streams:
        """The descriptors that the worker starts with."""
        stdin, stdout, _ = self.stdio.theirs
        return stdin, stdout, self.early_stderr.fileno()


@contextlib.contextmanager
def open_streams(*, silent: bool) -> Iterator[Streams]:
    """Opens the streams of a worker.

    On exit the worker's ends are closed in this process; after an exception, our ends are closed too.

    Raises:
        OSError: No descriptors are left.
    """
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as undo:
        early_stderr = undo.enter_context(tempfile.TemporaryFile())
        if silent:
            stdio = theirs.enter_context(open_stdio("inherit", "pipe", "pipe"))
            stderr = stdio.theirs[2]
            assert stderr is not None
        else:
            stdio, stderr = Stdio(), os.dup(2)
            theirs.callback(os.close, stderr)
        yield Streams(stdio, stderr, early_stderr)
        undo.pop_all()


class Child:
    """A worker or a fork server that has been started.

    Attributes:
        pid: The process id.
        stdout: The process's stdout if it is silent; else None.
        stderr: The process's stderr if it is silent; else None.
    """

    def __init__(self, process: Process, streams: Streams) -> None:
        self.pid: int = process.pid
        self.stdout: PipeReader | None = streams.stdio.stdout
        self.stderr: PipeReader | None = streams.stdio.stderr
        self._process = process
        self._early_stderr = streams.early_stderr
        process.ended.add_done_callback(lambda future: process.reap())

    def watch(self, ended: Callable[[ExitStatus], None]) -> None:
        """Calls ``ended`` once, on the running loop, when the process has ended."""

        def on_ended(future: asyncio.Future[ExitStatus]) -> None:
            ended(future.result())

        self._process.ended.add_done_callback(on_ended)

    def send_signal(self, number: int) -> None:
        """Sends a signal. Does nothing if the process has ended."""
        if self._process.send_signal(number) and number == signal.SIGTERM:
            self._process.send_signal(OURS)

    def take_early_stderr(self) -> str:
        """Returns the last 4 KiB written to stderr before the worker was online; "" once it has been online."""
        if self._early_stderr.closed:
            return ""
        with self._early_stderr as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            return file.read().decode(errors="replace")

    def close(self) -> None:
        """Closes the early stderr file. The streams stay open."""
        self._early_stderr.close()

    async def discard(self) -> None:
        """Kills a process that nothing else knows of yet, and returns when it has ended. The streams are closed."""
        self.send_signal(signal.SIGKILL)
        self.close()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        await asyncio.wait([self._process.ended])


def environment(settings: Settings, env: Mapping[str, str], worker_id: int) -> dict[str, str]:
    """Returns a worker's environment, without the variables that name descriptors."""
    return start.environment({**os.environ, **(settings.env or {}), **env}, {WORKER_ID: str(worker_id)})


def command(settings: Settings, module: str) -> list[str]:
    """Returns the command line of an interpreter that runs ``main()`` of ``aiocluster._worker.<module>``."""
    # Remove the working directory from sys.path: a queue.py in it would hide the standard module.
    path = f"sys.path[:] = [*filter(None, sys.path), {_PACKAGE_PARENT!r}]"
    code = f"import sys; {path}; from aiocluster._worker.{module} import main; main()"
    return [os.fspath(settings.executable or sys.executable), *settings.exec_args, "-c", code]


def spawn(settings: Settings, env: Mapping[str, str], worker_id: int, channel: socket.socket) -> Child:
    """Starts a new interpreter that becomes worker ``worker_id`` on this channel.

    Raises:
        OSError: The interpreter can't be started.
    """
    with open_streams(silent=settings.silent) as streams, blocked():
        process = start.start(
            command(settings, "bootstrap"),
            streams.theirs,
            env={
                **environment(settings, env, worker_id),
                CHANNEL_FD: str(channel.fileno()),
                STDERR_FD: str(streams.stderr),
            },
            cwd=settings.cwd,
            pass_fds=(channel.fileno(), streams.stderr),
        )
        return Child(process, streams)
