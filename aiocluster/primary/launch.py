"""Starting an interpreter, and hearing how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..settings import Settings

WORKER_ID = "AIOCLUSTER_WORKER_ID"
CHANNEL_FD = "AIOCLUSTER_CHANNEL_FD"
STDERR_FD = "AIOCLUSTER_STDERR_FD"

_PACKAGE_PARENT = str(Path(__file__).parent.parent.parent)
_BOOTSTRAP = f"import sys; sys.path.append({_PACKAGE_PARENT!r}); from aiocluster.worker.bootstrap import main; main()"
_TAIL = 4096  # bytes of stderr that an error text quotes at most


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a process ended: by exit code or by signal, one of which is None."""

    code: int | None
    signal: signal.Signals | None


class Child:
    """A started process: its pid, its end, and the reading ends of its pipes if it is silent."""

    def __init__(
        self, popen: subprocess.Popen[bytes], early_stderr: IO[bytes], stdout: int | None, stderr: int | None
    ) -> None:
        self.pid = popen.pid
        self.stdout = stdout
        self.stderr = stderr
        self._popen = popen
        self._early_stderr = early_stderr
        self._watch: _PidfdWatch | _ThreadWatch | None = None

    def watch(self, ended: Callable[[ProcessEnd], None]) -> None:
        """Calls ``ended`` once, from the running loop, when the process has ended."""
        watch = _PidfdWatch if hasattr(os, "pidfd_open") else _ThreadWatch
        self._watch = watch(self._popen, lambda: ended(_end_of(self._popen)))

    def send_signal(self, number: int) -> None:
        """Sends a signal; nothing if the process has ended."""
        self._popen.send_signal(number)

    def take_early_stderr(self) -> str:
        """What it wrote to stderr before it was online, the last few KiB; "" once it has been online."""
        if self._early_stderr.closed:
            return ""
        with self._early_stderr as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            return file.read().decode(errors="replace")

    def close(self) -> None:
        """Closes what is left of it here, but for its streams; the process must have ended."""
        self._early_stderr.close()


def spawn(settings: Settings, env: Mapping[str, str], worker_id: int, channel: socket.socket) -> Child:
    """Starts a fresh interpreter that becomes worker ``worker_id`` on that channel.

    What it writes to stderr before it is online goes to a file, so that an error can quote it; the bootstrap hands it
    on and switches over to the real stderr.

    Raises:
        OSError: The interpreter can't be started.
    """
    command = [os.fspath(settings.executable or sys.executable), *settings.exec_args, "-c", _BOOTSTRAP]
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as undo:
        early_stderr = undo.enter_context(tempfile.TemporaryFile())
        stdout_read = stderr_read = stdout_write = None
        if settings.silent:
            stdout_read, stdout_write = _pipe(theirs, undo)
            stderr_read, stderr_write = _pipe(theirs, undo)
        else:
            stderr_write = os.dup(2)
            theirs.callback(os.close, stderr_write)
        popen = subprocess.Popen(
            command,
            stdout=stdout_write,
            stderr=early_stderr,
            cwd=settings.cwd,
            pass_fds=(channel.fileno(), stderr_write),
            env={
                **os.environ,
                **(settings.env or {}),
                **env,
                WORKER_ID: str(worker_id),
                CHANNEL_FD: str(channel.fileno()),
                STDERR_FD: str(stderr_write),
            },
        )
        undo.pop_all()
        return Child(popen, early_stderr, stdout_read, stderr_read)


def _pipe(theirs: contextlib.ExitStack, undo: contextlib.ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    undo.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, write


def _end_of(popen: subprocess.Popen[bytes]) -> ProcessEnd:
    code = popen.wait()
    return ProcessEnd(code, None) if code >= 0 else ProcessEnd(None, _signal(-code))


def _signal(number: int) -> signal.Signals:
    try:
        return signal.Signals(number)
    except ValueError:  # one of Linux's real-time signals, which have no names
        return number  # type: ignore[return-value]


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
