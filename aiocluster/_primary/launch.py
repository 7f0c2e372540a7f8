"""Starting an interpreter, and hearing how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .._processes.exit_status import ExitStatus, exit_status
from ..settings import Settings

WORKER_ID = "AIOCLUSTER_WORKER_ID"
CHANNEL_FD = "AIOCLUSTER_CHANNEL_FD"
STDERR_FD = "AIOCLUSTER_STDERR_FD"

_PACKAGE_PARENT = str(Path(__file__).parent.parent.parent)
_TAIL = 4096  # bytes of stderr that an error text quotes at most


class Child(ABC):
    """A started process: its pid, its end, and the reading ends of its pipes if it is silent."""

    def __init__(self, pid: int, stdio: Stdio) -> None:
        self.pid = pid
        self.stdout: int | None = stdio.stdout_read
        self.stderr: int | None = stdio.stderr_read
        self._early_stderr = stdio.early_stderr

    @abstractmethod
    def watch(self, ended: Callable[[ExitStatus], None]) -> None:
        """Calls ``ended`` once, from the running loop, when the process has ended."""

    @abstractmethod
    def send_signal(self, number: int) -> None:
        """Sends a signal; nothing if the process has ended."""

    def take_early_stderr(self) -> str:
        """What it wrote to stderr before it was online, the last few KiB; "" once it has been online."""
        if self._early_stderr.closed:
            return ""
        with self._early_stderr as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            return file.read().decode(errors="replace")

    def close(self) -> None:
        """Closes what is left of it here, but for its streams."""
        self._early_stderr.close()


@dataclass(slots=True)
class Stdio:
    """The standard streams of a worker that is about to start.

    What it writes to stderr before it is online goes to a file, so that an error can quote it; the bootstrap hands it
    on and switches over to the real stderr.
    """

    early_stderr: IO[bytes]
    stderr_write: int
    stdout_write: int | None = None
    stdout_read: int | None = None
    stderr_read: int | None = None


@contextlib.contextmanager
def open_stdio(*, silent: bool) -> Iterator[Stdio]:
    """Opens them; afterwards the worker's ends are closed here, and if the start fails ours too.

    Raises:
        OSError: There are no descriptors left.
    """
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as undo:
        early_stderr = undo.enter_context(tempfile.TemporaryFile())
        if silent:
            stdout_read, stdout_write = _pipe(theirs, undo)
            stderr_read, stderr_write = _pipe(theirs, undo)
            stdio = Stdio(early_stderr, stderr_write, stdout_write, stdout_read, stderr_read)
        else:
            stdio = Stdio(early_stderr, os.dup(2))
            theirs.callback(os.close, stdio.stderr_write)
        yield stdio
        undo.pop_all()


def _pipe(theirs: contextlib.ExitStack, undo: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    undo.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, write


def environment(settings: Settings, env: Mapping[str, str], worker_id: int) -> dict[str, str]:
    """A worker's, but for the descriptors in it."""
    return {**os.environ, **(settings.env or {}), **env, WORKER_ID: str(worker_id)}


def command(settings: Settings, module: str) -> list[str]:
    """What starts an interpreter that runs ``main()`` of that module of the worker's."""
    # Without the working directory, where a queue.py may lie: it is this program's only if it is on its own path.
    path = f"sys.path[:] = [*filter(None, sys.path), {_PACKAGE_PARENT!r}]"
    code = f"import sys; {path}; from aiocluster._worker.{module} import main; main()"
    return [os.fspath(settings.executable or sys.executable), *settings.exec_args, "-c", code]


def spawn(settings: Settings, env: Mapping[str, str], worker_id: int, channel: socket.socket) -> Child:
    """Starts a fresh interpreter that becomes worker ``worker_id`` on that channel.

    Raises:
        OSError: The interpreter can't be started.
    """
    with open_stdio(silent=settings.silent) as stdio:
        popen = subprocess.Popen(
            command(settings, "bootstrap"),
            stdout=stdio.stdout_write,
            stderr=stdio.early_stderr,
            cwd=settings.cwd,
            pass_fds=(channel.fileno(), stdio.stderr_write),
            env={
                **environment(settings, env, worker_id),
                CHANNEL_FD: str(channel.fileno()),
                STDERR_FD: str(stdio.stderr_write),
            },
        )
        return SpawnedChild(popen, stdio)


class SpawnedChild(Child):
    """A process of our own."""

    def __init__(self, popen: subprocess.Popen[bytes], stdio: Stdio) -> None:
        super().__init__(popen.pid, stdio)
        self._popen = popen
        self._watch: _PidfdWatch | _ThreadWatch | None = None

    def watch(self, ended: Callable[[ExitStatus], None]) -> None:
        watch = _PidfdWatch if hasattr(os, "pidfd_open") else _ThreadWatch
        self._watch = watch(self._popen, lambda: ended(exit_status(self._popen.wait())))

    def send_signal(self, number: int) -> None:
        self._popen.send_signal(number)


class _PidfdWatch:
    """Linux: a descriptor that becomes readable when the process ends; no SIGCHLD, no thread, on any loop."""

    def __init__(self, popen: subprocess.Popen[bytes], ended: Callable[[], None]) -> None:
        self._fd = os.pidfd_open(popen.pid)
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._on_end)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._ended()


class _ThreadWatch:
    """Elsewhere: a thread that waits for it."""

    def __init__(self, popen: subprocess.Popen[bytes], ended: Callable[[], None]) -> None:
        import threading

        loop = asyncio.get_running_loop()

        def wait() -> None:
            popen.wait()
            loop.call_soon_threadsafe(ended)

        threading.Thread(target=wait, name=f"aiocluster-wait-{popen.pid}", daemon=True).start()
