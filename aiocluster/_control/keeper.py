"""The process beside a cluster in the background: it starts it, writes its log, and remembers how it has ended.

::

    aiocluster start ──starts, detached──▶ keeper ──starts──▶ aiocluster run ──▶ workers
                                             ▲  └──▶ log          │             │
                                             └──── one pipe: stdout and stderr ─┘

So the last words of a primary that was killed are in the log, and a full disk or a slow one stops nobody.

``python -P -m aiocluster._control.keeper FOLDER WAITING`` starts one: whoever waits at the other end of the pipe
WAITING sees its end when the cluster has ended. With ``FOLDER OUTPUT OUTCOME`` it takes the place of a keeper that was
killed (`kept`): the cluster writes to the one pipe, and tells its exit code by the other, which ends with its process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from .._processes.environment import KEPT_IN
from .log_file import LogFile
from .memory import Memory, Start

_LAST_WORDS = 5.0  # seconds that workers, whose primary has ended, may take to end as well


def main() -> None:
    """Keeps one cluster, to its end."""
    folder, *numbers = sys.argv[1:]
    fds = [int(number) for number in numbers]
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, _not_for_me)  # not SIG_IGN, which the cluster would inherit
    memory = Memory(Path(folder))
    start = memory.start
    if start is None:
        sys.exit(f"aiocluster: there is no {folder}/start.json")
    log = LogFile(memory.log, start.log_max_size, start.log_keep)
    try:
        code = _keep(start, folder, log) if len(fds) == 1 else _go_on(start, fds[0], fds[1], log)
    except OSError as error:
        log.note(f"{_now()} {start.name} could not be started: {error}")
        code = 1
    log.note(f"{_now()} {start.name} has ended: {_in_words(code)}")
    memory.ended(code if code is None or code >= 0 else None, _signal(code), _now())
    log.close()
    for fd in fds:
        os.close(fd)


def _not_for_me(number: int, frame: object) -> None:
    """A service that is stopped, or a session that ends, signals all its processes: the log is kept to the end."""


def _keep(start: Start, folder: str, log: LogFile) -> int:
    """Runs the cluster. Returns its exit code, or the negative number of the signal that has ended it."""
    with _children() as ended:
        read, write = os.pipe()
        try:
            process = subprocess.Popen(
                [start.executable, "-m", "aiocluster", "run", *start.words],
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                cwd=start.cwd,
                env={**start.env, KEPT_IN: folder},
            )
        finally:
            os.close(write)
        log.note(f"{_now()} {start.name} starts: pid {process.pid}")

        def has_ended() -> bool:
            os.read(ended, 4096)
            return process.poll() is not None

        _write_log(read, ended, has_ended, log)
        os.close(read)
    return process.wait()


def _go_on(start: Start, output: int, outcome: int, log: LogFile) -> int | None:
    """Goes on with the log of a cluster that runs. Returns its exit code; None if it was killed."""
    log.note(f"{_now()} {start.name} goes on: who wrote this log was killed; what came meanwhile may be missing")
    told = bytearray()

    def has_ended() -> bool:
        data = os.read(outcome, 16)
        told.extend(data)
        return not data

    _write_log(output, outcome, has_ended, log)
    while not has_ended():
        pass
    return int(told) if told else None


def _write_log(read: int, ended: int, has_ended: Callable[[], bool], log: LogFile) -> None:
    """Copies what comes to the log, until nobody writes any more, or some seconds after the primary's end.

    Args:
        read: What comes.
        ended: Can be read when the primary may have ended.
        has_ended: Reads it, and returns whether it has.
        log: The log.
    """
    poll = select.poll()
    poll.register(read, select.POLLIN)
    poll.register(ended, select.POLLIN)
    deadline: float | None = None
    while deadline is None or time.monotonic() < deadline:
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        for fd, _ in poll.poll(left):
            if fd == read:
                data = os.read(read, 65536)
                if not data:
                    return
                log.write(data)
            elif has_ended():
                poll.unregister(ended)
                deadline = time.monotonic() + _LAST_WORDS


@contextlib.contextmanager
def _children() -> Iterator[int]:
    """Yields a descriptor that can be read when a child has ended."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.signal(signal.SIGCHLD, _not_for_me)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, before)
        os.close(read)
        os.close(write)


def _signal(code: int | None) -> str | None:
    return signal.Signals(-code).name if code is not None and code < 0 else None


def _in_words(code: int | None) -> str:
    if code is None:
        return "killed"
    return f"exit code {code}" if code >= 0 else f"killed by {_signal(code)}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    main()
