"""A running process: signals to it and to its group, and how it ended.

::

    Process ──┬── OwnProcess      started and reaped by this process
              └── ForeignProcess  started by another process (a fork server), which reports how it ended

On Linux the event loop watches a pidfd (pidfd_open(2)), and signals are sent through it. On other systems a thread
waits for each own process, and signals are sent to the pid.

asyncio's subprocess transports, and `anyio.open_process` on top of them, don't fit: uvloop's lack ``user`` and
``process_group``, and all of them kill the process when they are closed or garbage-collected, so it can't be detached.
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

_GRACE = 1.0  # seconds that a process group has to end before SIGKILL
_POLL = 0.01  # seconds between checks whether a group is empty: there is no event for that
_PROC = Path("/proc")
_UNKNOWN = ExitStatus(None)


class Process:
    """A process that is watched until it ends.

    Attributes:
        pid: The process id.
        ended: Done when the process has ended.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._pidfd = pidfd  # -1: none

    def send_signal(self, number: int) -> bool:
        """Sends a signal. Returns whether it was sent; False once the process has ended."""
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
        """Frees the pid of a process that has ended. Idempotent."""
        self._close()

    def _watch(self) -> None:
        self._loop.add_reader(self._pidfd, self._on_readable)

    def _on_readable(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._set_ended(self._exit_status())

    def _exit_status(self) -> ExitStatus:
        """Returns how the process ended. Called once it has."""
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
    """A process that this process has started.

    Until it is reaped, the system can't reuse its pid, which is also the id of the process group that it leads, if any.

    Raises:
        OSError: No descriptor is left for its pidfd.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(pid, _open_pidfd(pid))
        self._is_reaped = False
        if self._pidfd >= 0:
            self._watch()
        else:
            self._reap_in_thread()

    def _exit_status(self) -> ExitStatus:
        """Reads the exit status without reaping: the process stays a zombie."""
        try:
            info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return _UNKNOWN  # other code has already waited for it
        assert info is not None
        return ExitStatus(info.si_status if info.si_code == os.CLD_EXITED else -info.si_status)

    def reap(self) -> None:
        if not self._is_reaped:
            self._is_reaped = True
            self._close()
            _wait(self.pid)

    def release(self) -> None:
        """Stops watching. The process is reaped when it ends, and nothing is reported."""
        if self.ended.done():
            self.reap()
        elif not self._is_reaped:
            self._loop.remove_reader(self._pidfd)
            self._close()
            self._reap_in_thread()

    def _reap_in_thread(self) -> None:
        """Waits for the process in a thread: without pidfds, and after `release`."""
        self._is_reaped = True
        loop, pid = self._loop, self.pid

        def wait() -> None:
            status = _wait(pid)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._set_ended, status)

        threading.Thread(target=wait, name=f"aiocluster-wait-{pid}", daemon=True).start()

    # ---- its process group

    async def end_group(self, number: int) -> None:
        """Ends the process group that it leads: by this signal, and one second later by SIGKILL.

        The process must not have been reaped. A cancellation is raised only after the group has ended, which takes at
        most two seconds.
        """
        await to_the_end(self._end_group(number))

    async def _end_group(self, number: int) -> None:
        try:
            _signal_group(self.pid, number)
            await self._group_gone()
        finally:  # also when this task is cancelled because the loop ends
            _signal_group(self.pid, signal.SIGKILL)
        await self._group_gone()

    async def _group_gone(self) -> None:
        """Returns when no process of the group is left, or after one second."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                while _has_living(self.pid):
                    await asyncio.sleep(_POLL)
                await asyncio.shield(self.ended)


class ForeignProcess(Process):
    """A process that another process has started and reaps. That process reports its end."""

    def __init__(self, pid: int) -> None:
        try:
            pidfd = _open_pidfd(pid)
        except OSError:  # it has ended, and the report follows; or no descriptor is left
            pidfd = -1
        super().__init__(pid, pidfd)

    def tell(self, code: int) -> None:
        """Reports that it has ended with this code; as in `subprocess`, negative for a signal."""
        self._set_ended(ExitStatus(code))

    def tell_no_more(self) -> None:
        """Says that no report will come, because the process that started it has ended.

        With a pidfd, its end is still noticed, but its exit status stays unknown. Without one, it counts as ended now.
        """
        if self._pidfd >= 0:
            self._watch()
        else:
            self._set_ended(_UNKNOWN)


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits ``work`` to its end, even if cancelled. The cancellation is raised afterwards."""
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


# ---- system calls


def _open_pidfd(pid: int) -> int:
    """Returns a descriptor that becomes readable when the process ends; -1 if the system has no pidfds."""
    return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1


def _wait(pid: int) -> ExitStatus:
    """Waits until a child process has ended, and reaps it."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return _UNKNOWN
    return ExitStatus(os.waitstatus_to_exitcode(status))


def _signal_group(group: int, number: int) -> bool:
    """Signals all processes of a group. Returns whether there are any that this process may signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _has_living(group: int) -> bool:
    """Whether any process of a group has not ended.

    With `/proc` (proc(5)), zombies don't count. An orphan is reaped by its new parent, usually process 1, and in a
    container that may happen late or never.
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
