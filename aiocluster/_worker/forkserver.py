"""The fork server's own process: it imports the application once, then forks a worker for each request."""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections import deque
from typing import NoReturn

from .._metrics.registry import counted_before_forks, inherited
from .._processes.environment import CHANNEL_FD
from .._processes.parent import die_with_parent, outlive_parent
from .._processes.signals import unblock
from .._processes.title import set_title
from .._wire import frames, main_guard
from .._wire.channel import Channel
from .._wire.descriptors import Descriptors
from .._wire.frame import Dispatch, Frame, on_descriptors
from .._wire.titles import title_of
from . import bootstrap
from .failure import why_it_repeats
from .first_frames import read_config
from .listening import patch
from .load import warm_up
from .own_exception import described_as_own
from .signals import be_deaf


def main() -> NoReturn:
    """Becomes a fork server, and a worker in each process that it forks. Never returns."""
    be_deaf()
    unblock()
    sock = socket.socket(fileno=int(os.environ.pop(CHANNEL_FD)))
    sock.set_inheritable(False)
    config = read_config(sock)
    channel = Channel(sock)
    die_with_parent(config.primary_pid)
    try:
        bootstrap.set_path(config)
        patch.install()
        main_guard.loads(config.target)
        warm_up(config)
        for kind in Frame.__subclasses__():
            if frames.PRIMARY in kind.by:
                kind.prepare()  # once, in memory that the workers share
    except BaseException as error:
        channel.send(frames.Failed(*described_as_own(error), why_it_repeats(error), False).encode())
        channel.flush_blocking()
        sys.exit(1)
    set_title(config.cluster, "fork server", title_of(config.target))
    outlive_parent()  # to end its workers first
    counted = counted_before_forks()
    ForkServer(channel).serve(counted)
    bootstrap.main(inherited() if counted else None)


class ForkServer:
    """Forks workers until the primary has ended.

    Args:
        channel: The channel to the primary.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._children: set[int] = set()
        self._asked: deque[tuple[frames.Fork, list[int]]] = deque()
        self._wakeup, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(wakeup, False)
        self._signalled = wakeup

    def serve(self, counted: bytes) -> None:
        """Returns only in a new worker, whose environment and streams are set.

        Args:
            counted: A packed report of what this process has counted.
        """
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._signalled)
        self._channel.attach_blocking(Dispatch(frames.PRIMARY, [on_descriptors(frames.Fork, self._on_fork)]))
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        gc.collect()
        gc.freeze()  # the collector ignores these objects from now on, so their pages stay shared
        self._tell(frames.Warm(counted))
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                self._reap()
            if self._channel.fileno() in ready and not self._channel.read_blocking():
                self._end()
            while self._asked:
                if self._fork(*self._asked.popleft()):
                    return

    def _tell(self, frame: Frame) -> None:
        if not self._channel.is_closed:
            self._channel.send(frame.encode())
            self._channel.flush_blocking()

    def _on_fork(self, frame: frames.Fork, descriptors: Descriptors) -> None:
        # Only noted here: a worker must not go on in the middle of reading this process's channel.
        self._asked.append((frame, descriptors.take()))

    def _fork(self, frame: frames.Fork, fds: list[int]) -> bool:
        """Forks a worker and reports it. Returns whether this process is the worker."""
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            if len(fds) < frame.count:
                raise OSError(errno.EMFILE, "descriptors were lost")
            pid = os.fork()
        except OSError as error:
            self._tell(frames.Unforked(frame.number, error.errno or 0))
        else:
            if pid == 0:
                self._become_worker(frame.env, fds)
                return True
            self._children.add(pid)
            self._tell(frames.Forked(frame.number, pid))
        for fd in fds:
            os.close(fd)
        return False

    def _become_worker(self, env: dict[str, str], fds: list[int]) -> None:
        """Gives a new process its own streams and environment. If that fails, the process ends."""
        try:
            channel, *streams = fds
            for number, fd in reversed([*enumerate(streams)]):  # stderr first, for what may fail after it
                os.dup2(fd, number)
                os.close(fd)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._wakeup)
            os.close(self._signalled)
            self._channel.abandon()
            for _, others in self._asked:
                for fd in others:
                    os.close(fd)
            _change_environment({**env, CHANNEL_FD: str(channel)})
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def _reap(self) -> None:
        """Reaps the workers that have ended and reports them. The system can't reuse a pid before that."""
        for pid in list(self._children):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._children.discard(pid)
                self._tell(frames.Ended(pid, os.waitstatus_to_exitcode(status)))

    def _end(self) -> NoReturn:
        """Kills all workers and exits, because the primary has ended. Stopped workers can't notice that themselves."""
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        os._exit(1)


def _change_environment(env: dict[str, str]) -> None:
    """Sets the environment. Equal values are left alone, because their memory is shared.

    It is that of C code, too: `os.environ` calls putenv(3). Only the time zone needs more. What Python itself or an
    imported module has read from its environment stays as it is.
    """
    zone = os.environ.get("TZ")
    for key in os.environ.keys() - env.keys():
        del os.environ[key]
    for key, value in env.items():
        if os.environ.get(key) != value:
            os.environ[key] = value
    if os.environ.get("TZ") != zone:
        time.tzset()
