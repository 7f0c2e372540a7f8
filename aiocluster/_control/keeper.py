"""The process beside a cluster in the background: it starts it, writes its log, and remembers how it has ended.

::

    aiocluster start ──starts, detached──▶ keeper ──starts──▶ aiocluster run ──▶ workers
                                             ▲  └──▶ log          │             │
                                             └──── one pipe: stdout and stderr ─┘

So the last words of a primary that was killed are in the log, and a full disk or a slow one stops nobody. Run as
``python -P -m aiocluster._control.keeper FOLDER FD``: whoever waits at the other end of the pipe FD sees its end when
the cluster has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from .log_file import LogFile
from .memory import Memory, Start

_LAST_WORDS = 5.0  # seconds that workers, whose primary has ended, may take to end as well


def main() -> None:
    """Keeps one cluster, from its start to its end."""
    folder, waiting = sys.argv[1:]
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, _not_for_me)  # not SIG_IGN, which the cluster would inherit
    memory = Memory(Path(folder))
    start = memory.start
    if start is None:
        sys.exit(f"aiocluster: there is no {folder}/start.json")
    log = LogFile(memory.log, start.log_max_size, start.log_keep)
    try:
        code = _keep(start, log)
    except OSError as error:
        log.note(f"{_now()} {start.name} could not be started: {error}")
        code = 1
    memory.ended(code if code >= 0 else None, signal.Signals(-code).name if code < 0 else None, _now())
    log.close()
    os.close(int(waiting))


def _not_for_me(number: int, frame: object) -> None:
    """A service that is stopped, or a session that ends, signals all its processes: the log is kept to the end."""


def _keep(start: Start, log: LogFile) -> int:
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
                env=start.env,
            )
        finally:
            os.close(write)
        log.note(f"{_now()} {start.name} starts: pid {process.pid}")
        _write_log(process, read, ended, log)
        os.close(read)
    code = process.wait()
    log.note(f"{_now()} {start.name} has ended: {_in_words(code)}")
    return code


def _write_log(process: subprocess.Popen[bytes], read: int, ended: int, log: LogFile) -> None:
    """Copies what comes to the log, until nobody writes any more, or some seconds after the process's end."""
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
            else:
                os.read(ended, 4096)
                if deadline is None and process.poll() is not None:
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


def _in_words(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    main()
