"""A started process: its signals, its end, and who reaps it.

Not asyncio's subprocess transports, nor `anyio.open_process`, which stands on them: uvloop's know neither ``user`` nor
``process_group``, and all of them kill their process when they are closed or forgotten, so none could be detached.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from ..child_process._stdio import Stdio
from .exit_status import ExitStatus, exit_status
from .group import has_living, signal_group

_GRACE = 1.0  # seconds that a process group has to end before it is killed
_POLL = 0.01  # seconds between two looks at whether a group is empty: there is no event to wait for


class Process:
    """A process that this one has started.

    Until it is reaped its pid, which is its group's number too if it leads one, can't become another's.

    Attributes:
        pid: Its process id.
        ended: Set when it has ended.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._is_reaped = False
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(pid)
            self._loop.add_reader(self._pidfd, self._on_readable)
        else:
            self._reap_in_thread()

    # ---- signals

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

    async def end_group(self, number: int) -> None:
        """Ends the group that it leads: by this signal, and what is left a second later by SIGKILL.

        It must not have been reaped. It can't be cut short: a cancellation is raised when all is done, which takes two
        seconds at most.
        """
        await to_the_end(self._end_group(number))

    async def _end_group(self, number: int) -> None:
        try:
            signal_group(self.pid, number)
            await self._group_gone()
        finally:  # also when the loop ends, with all of its tasks
            signal_group(self.pid, signal.SIGKILL)
        await self._group_gone()

    async def _group_gone(self) -> None:
        """Returns when nobody of its group lives, or has been given long enough."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                while has_living(self.pid):
                    await asyncio.sleep(_POLL)
                await asyncio.shield(self.ended)

    # ---- its end

    def _on_readable(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._set_ended(_look(self.pid))

    def _set_ended(self, ended: ExitStatus) -> None:
        if not self.ended.done():
            self.ended.set_result(ended)

    def reap(self) -> None:
        """It has ended, and its pid may become another's. Idempotent."""
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
            ended = _wait(pid)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._set_ended, ended)

        threading.Thread(target=wait, name=f"aiocluster-wait-{pid}", daemon=True).start()

    def _close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __del__(self) -> None:
        if hasattr(self, "_pidfd"):
            self._close()


def start(
    argv: Sequence[str | os.PathLike[str]],
    stdio: Stdio,
    *,
    env: Mapping[str, str],
    executable: str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    uid: int | None = None,
    gid: int | None = None,
    session: bool = False,
    group: int | None = None,
) -> Process:
    """Starts a process; the child's ends of ``stdio`` may be closed here afterwards.

    Args:
        argv: Its arguments, from the zeroth on.
        stdio: Its streams. It inherits no other descriptor.
        env: Its environment.
        executable: The program, if it is not ``argv[0]``.
        cwd: Its working directory.
        uid: Its user; root only. Like ``gid``, it takes root's other groups away.
        gid: Its group; root only.
        session: It leads a session of its own: no terminal, and a process group of its own.
        group: 0: it leads a process group of its own.

    Raises:
        OSError: It can't be started.
    """
    stdin, stdout, stderr = stdio.theirs
    popen = subprocess.Popen(
        argv,
        executable=executable,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        pass_fds=() if stdio.their_channel is None else (stdio.their_channel.fileno(),),
        user=uid,
        group=gid,
        extra_groups=[] if os.getuid() == 0 and (uid is not None or gid is not None) else None,
        start_new_session=session,
        process_group=group,
    )
    popen.returncode = 0  # so that its destructor leaves it alone: it is reaped here
    try:
        return Process(popen.pid)
    except BaseException:  # no descriptor was left to watch it by
        os.kill(popen.pid, signal.SIGKILL)
        _wait(popen.pid)
        raise


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


def _look(pid: int) -> ExitStatus:
    """How it ended; it stays a zombie."""
    try:
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return ExitStatus(None, None)  # somebody else has waited for it
    assert info is not None
    return exit_status(info.si_status if info.si_code == os.CLD_EXITED else -info.si_status)


def _wait(pid: int) -> ExitStatus:
    """How it ended, once it has; it is gone then."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return ExitStatus(None, None)
    return exit_status(os.waitstatus_to_exitcode(status))
