"""The first code of a worker: adopt the channel, load the target, run it, report how it ended.

It imports little: what stands here is the start time of every worker.
"""

from __future__ import annotations

import asyncio
import faulthandler
import inspect
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Awaitable
from typing import Any, NoReturn

from .._processes.environment import CHANNEL_FD, STDERR_FD, WORKER_ID
from .._processes.title import set_title
from .._wire import frames as kinds
from .._wire.channel import Channel
from .._wire.codec import Decoder, encode
from . import current
from .listening import patch as listen
from .load import load
from .worker import Worker


def main() -> NoReturn:
    """Becomes the worker that the environment names, and never returns."""
    early_stderr = _take_stderr()
    sock = socket.socket(fileno=int(os.environ[CHANNEL_FD]))
    sock.set_inheritable(False)
    welcome = read_welcome(sock)
    channel = Channel(sock)
    worker = Worker(int(os.environ[WORKER_ID]), channel, welcome)
    current.adopt(worker)
    try:
        _end_with(worker, welcome["primary_pid"])
        _become(welcome)
        listen.install()
        target = load(welcome)
    except BaseException as error:
        early_stderr.restore()
        _finish(worker, error)
    early_stderr.restore()
    faulthandler.enable()
    set_title(f"worker {worker.id}" if worker.name is None else f"agent {worker.name}")
    channel.send(encode(kinds.ONLINE))
    channel.flush_blocking()
    try:
        result = target()
        if inspect.isawaitable(result):
            _run(worker, result, welcome)
    except BaseException as error:
        _finish(worker, error)
    _finish(worker, None)


# ---- the primary, and its end


def read_welcome(sock: socket.socket) -> dict[str, Any]:
    """Reads the first frame and not a byte more: what follows it, descriptors too, is for the loop to come."""
    head = _read(sock, 4)
    frame, *_ = Decoder().feed(head + _read(sock, int.from_bytes(head, "big")))
    if frame[0] != kinds.WELCOME:
        sys.exit("aiocluster: the channel does not begin with WELCOME; do both sides have the same version?")
    return dict(frame[1])


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            sys.exit(1)  # the primary went before it said anything
        data += more
    return data


def _end_with(worker: Worker, primary_pid: int) -> None:
    """Sees to it that this process does not outlive the primary, however that ends.

    Linux kills it with its parent, even while it is stopped. Everywhere, a thread waits for the channel to hang up.
    """
    die_with_parent(primary_pid)
    poll = select.poll()
    poll.register(worker.channel.fileno(), 0)  # POLLHUP is always reported

    def wait() -> None:
        poll.poll()
        if not worker.is_over:  # whether the channel is closed tells nothing: the loop may have seen it first
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="aiocluster-primary-watch", daemon=True).start()


def die_with_parent(primary_pid: int) -> None:
    """Linux: ``PR_SET_PDEATHSIG`` (prctl(2)), which a change of uid or gid undoes.

    Not in a fork server's worker: it outlives the fork server, which ends it when the primary ends.
    """
    if sys.platform == "linux" and os.getppid() == primary_pid:
        _signal_when_parent_dies(signal.SIGKILL)
        if os.getppid() != primary_pid:
            os._exit(1)


def outlive_parent() -> None:
    """Undoes `die_with_parent`: a fork server has workers to end first."""
    if sys.platform == "linux":
        _signal_when_parent_dies(0)


def _signal_when_parent_dies(number: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(1, number)


# ---- this process


class _EarlyStderr:
    """Until the worker is online its stderr is a file, which the primary quotes if it does not come up."""

    def __init__(self, real: int) -> None:
        self._real = real

    def restore(self) -> None:
        """Writes what came so far to the real stderr, and makes that descriptor 2 again."""
        if self._real < 0:
            return
        sys.stderr.flush()
        size = os.lseek(2, 0, os.SEEK_END)
        early = os.pread(2, size, 0)
        try:
            while early:
                early = early[os.write(self._real, early) :]
        except OSError:
            pass  # nobody reads it
        os.dup2(self._real, 2)
        os.close(self._real)
        self._real = -1


def _take_stderr() -> _EarlyStderr:
    return _EarlyStderr(int(os.environ.pop(STDERR_FD, "-1")))


def _become(welcome: dict[str, Any]) -> None:
    """What the settings say of the process itself; its environment and working directory it was started with."""
    if welcome["ignore_sigint"]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the primary too, which knows what to do
    if welcome["gid"] is not None:
        if os.getuid() == 0:
            os.setgroups([])
        os.setgid(welcome["gid"])
    if welcome["uid"] is not None:
        os.setuid(welcome["uid"])
    die_with_parent(welcome["primary_pid"])
    set_path(welcome)


def set_path(welcome: dict[str, Any]) -> None:
    """Finds modules where the primary does."""
    known = set(welcome["path"])
    sys.path[:] = welcome["path"] + [entry for entry in sys.path if entry and entry not in known]


# ---- the target


def _run(worker: Worker, awaitable: Awaitable[Any], welcome: dict[str, Any]) -> None:
    factory = None
    if welcome["loop"] != "asyncio" and "uvloop" in sys.modules:
        factory = sys.modules["uvloop"].new_event_loop

    async def run() -> None:
        try:
            await awaitable
        except Exception as error:
            await worker.fail(error, welcome["graceful_timeout"])
            raise

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


# ---- the end


def _finish(worker: Worker, error: BaseException | None) -> NoReturn:
    """Reports how the target ended, closes the channel, and ends the process the way Python would."""
    if worker.is_leaving and isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
        error = None  # that is how it was told to leave
    if error is not None and not isinstance(error, (SystemExit, KeyboardInterrupt)):
        worker.report_failure(error)
        sys.excepthook(type(error), error, error.__traceback__)
        error = SystemExit(1)
    worker.channel.flush_blocking()
    worker.is_over = True
    worker.channel.close()
    raise error if error is not None else SystemExit(0)
