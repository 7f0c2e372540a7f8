"""A running process: signals to it and to its group, and how it ended.

::

    Process ──┬── OwnProcess      this process has started it, and reaps it
              └── ForeignProcess  another process has started it, and tells how it ended: a fork server its workers

Where the system has pidfds (pidfd_open(2), Linux) the event loop watches one, and signals go through it. Elsewhere a
thread waits for each process of our own, and signals go to the pid.

Not asyncio's subprocess transports, nor `anyio.open_process`, which is built on them: uvloop's know neither ``user``
nor ``process_group``, and all of them kill their process when they are closed or forgotten, so none could be detached.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from .exit_status import ExitStatus

_GRACE = 1.0  # seconds that a process group has to end before it is killed
_POLL = 0.01  # seconds between two looks at whether a group is empty: there is no event to wait for
_PROC = Path("/proc")
_UNKNOWN = ExitStatus(None)


class Process:
    """A process, from its start to its end.

    Attributes:
        pid: Its process id.
        ended: Set when it has ended.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._pidfd = pidfd  # -1: there is none

    def send_signal(self, number: int) -> bool:
        """Sends it a signal; says whether it could: not once it has ended."""
        if self.ended.done():
            return False
        try:
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def reap(self) -> None:
        """It has ended, and its pid is needed no more. Idempotent."""
        self._close()

    def _watch(self) -> None:
        self._loop.add_reader(self._pidfd, self._on_readable)

    def _on_readable(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._set_ended(self._exit_status())

    def _exit_status(self) -> ExitStatus:
        """How it ended, now that it has."""
        return _UNKNOWN

    def _set_ended(self, status: ExitStatus) -> None:
        if not self.ended.done():
            self.ended.set_result(status)

    def _close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __del__(self) -> None:
        if hasattr(self, "_pidfd"):
            self._close()


class OwnProcess(Process):
    """A process that this one has started.

    Until it is reaped its pid, which is its group's number too if it leads one, can't become another's.

    Raises:
        OSError: There is no descriptor left to watch it by.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(pid, _open_pidfd(pid))
        self._is_reaped = False
        if self._pidfd >= 0:
            self._watch()
        else:
            self._reap_in_thread()

    def _exit_status(self) -> ExitStatus:
        """It stays a zombie."""
        try:
            info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return _UNKNOWN  # somebody else has waited for it
        assert info is not None
        return ExitStatus(info.si_status if info.si_code == os.CLD_EXITED else -info.si_status)

    def reap(self) -> None:
        if not self._is_reaped:
            self._is_reaped = True
            self._close()
            _wait(self.pid)

    def release(self) -> None:
        """Watches it no more: whenever it ends it is reaped, and nobody is told."""
        if self.ended.done():
            self.reap()
        elif not self._is_reaped:
            self._loop.remove_reader(self._pidfd)
            self._close()
            self._reap_in_thread()

    def _reap_in_thread(self) -> None:
        """Where there are no pidfds, and where there is no one left to watch one."""
        self._is_reaped = True
        loop, pid = self._loop, self.pid

        def wait() -> None:
            status = _wait(pid)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._set_ended, status)

        threading.Thread(target=wait, name=f"aiocluster-wait-{pid}", daemon=True).start()

    # ---- its group

    async def end_group(self, number: int) -> None:
        """Ends the group that it leads: by this signal, and what is left a second later by SIGKILL.

        It must not have been reaped. It can't be cut short: a cancellation is raised when all is done, which takes two
        seconds at most.
        """
        await to_the_end(self._end_group(number))

    async def _end_group(self, number: int) -> None:
        try:
            _signal_group(self.pid, number)
            await self._group_gone()
        finally:  # also when the loop ends, with all of its tasks
            _signal_group(self.pid, signal.SIGKILL)
        await self._group_gone()

    async def _group_gone(self) -> None:
        """Returns when no process of its group is left, or after a second."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                while _has_living(self.pid):
                    await asyncio.sleep(_POLL)
                await asyncio.shield(self.ended)


class ForeignProcess(Process):
    """A process that another one has started, and reaps: that one tells of its end."""

    def __init__(self, pid: int) -> None:
        try:
            pidfd = _open_pidfd(pid)
        except OSError:  # it has ended, which is about to be told; or there is no descriptor left
            pidfd = -1
        super().__init__(pid, pidfd)

    def tell(self, code: int) -> None:
        """It has ended with this code; as `subprocess` has it, below 0 for a signal."""
        self._set_ended(ExitStatus(code))

    def tell_no_more(self) -> None:
        """Nobody is left who could tell: its end is still seen where there are pidfds, but not how it ended.

        Where there are none, it counts as ended.
        """
        if self._pidfd >= 0:
            self._watch()
        else:
            self._set_ended(_UNKNOWN)


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits it even if cancelled meanwhile; that is raised afterwards."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


# ---- what the system says


def _open_pidfd(pid: int) -> int:
    """A descriptor that becomes readable when the process ends; -1 where the system has none."""
    return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1


def _wait(pid: int) -> ExitStatus:
    """How a child ended, once it has; it is gone then."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return _UNKNOWN
    return ExitStatus(os.waitstatus_to_exitcode(status))


def _signal_group(group: int, number: int) -> bool:
    """Sends all processes of a group a signal; says whether there are any that this one may send signals to."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _has_living(group: int) -> bool:
    """Whether any process of a group has not ended.

    Those that have, but nobody has waited for, do not count where `/proc` tells (proc(5)). An orphan is its new
    parent's to wait for, process 1 as a rule, and in a container that may do so late or never.
    """
    if not _signal_group(group, 0):
        return False
    if not (_PROC / "self" / "stat").exists():
        return True
    return any(_lives_in(group, entry) for entry in os.listdir(_PROC) if entry.isdecimal())


def _lives_in(group: int, pid: str) -> bool:
    try:
        stat = (_PROC / pid / "stat").read_bytes()
    except OSError:
        return False
    state, _, of_group = stat[stat.rindex(b")") + 2 :].split(None, 3)[:3]
    return int(of_group) == group and state not in (b"Z", b"X")
