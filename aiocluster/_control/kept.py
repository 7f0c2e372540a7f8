"""A cluster in the background as its own process sees it: its keeper is started again if it was killed.

Otherwise nobody would write its log, or remember how it has ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from .._processes.environment import KEPT_IN
from .memory import HeldError, Memory

_PAUSE = 5.0  # seconds between two keepers: one that can't live is not started all the time


class Kept:
    """The keeper of this process.

    Args:
        folder: Where its files are; None: this process has no keeper.
    """

    def __init__(self, folder: str | None) -> None:
        self._memory = None if folder is None else Memory(Path(folder))
        self._lock = threading.Lock()
        self._outcome = -1
        self._keeper = 0
        self._not_before = 0.0

    def mend(self) -> bool:
        """Starts a keeper if nobody reads what this process writes. Returns whether somebody does now. Thread-safe."""
        with self._lock:
            if self._memory is None:
                return False
            if _is_read(1) and _is_read(2):
                return True  # another thread has been faster
            if time.monotonic() < self._not_before:
                return False
            self._not_before = time.monotonic() + _PAUSE
            try:
                self._start(self._memory)
            except (HeldError, OSError):
                return False
            return True

    def _start(self, memory: Memory) -> None:
        from .launch import start_keeper

        if self._keeper:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._keeper, os.WNOHANG)
            self._keeper = 0
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            lock = theirs.enter_context(memory.held("keeper"))
            output, write = os.pipe()
            theirs.callback(os.close, output)
            theirs.callback(os.close, write)
            outcome, tell = os.pipe()
            theirs.callback(os.close, outcome)
            ours.callback(os.close, tell)
            words = [str(memory.folder), str(output), str(outcome)]
            self._keeper = start_keeper(words, [output, outcome, lock])
            os.dup2(write, 1)
            os.dup2(write, 2)
            ours.pop_all()
        if self._outcome >= 0:
            os.close(self._outcome)
        self._outcome = tell

    def tell(self, code: int) -> None:
        """Has it remembered how this process ends: by a keeper that did not start it, or by none that is left."""
        if self._memory is not None and not self._memory.is_held("keeper"):
            self._memory.ended(code, None, datetime.now(UTC).isoformat(timespec="milliseconds"))
        elif self._outcome >= 0:
            with contextlib.suppress(OSError):
                os.write(self._outcome, b"%d" % code)


@contextlib.contextmanager
def keeping() -> Iterator[Kept]:
    """Yields the keeper of this process, which hears at the end of the block with which exit code it is left."""
    kept = Kept(os.environ.pop(KEPT_IN, None))
    code = 1
    try:
        yield kept
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    finally:
        kept.tell(code)


def _is_read(fd: int) -> bool:
    """Whether somebody reads what is written to this pipe."""
    poll = select.poll()
    poll.register(fd, 0)
    return not poll.poll(0)
