"""The first code that a worker runs: opens the channel, loads and runs the target, and reports how it ended.

It imports little, because its imports add to the start time of every worker.
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
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, NoReturn

from .._processes.environment import CHANNEL_FD, WORKER_ID
from .._processes.parent import die_with_parent
from .._processes.signals import forget_in_forked_children
from .._processes.title import set_title
from .._processes.user import become
from .._wire import frames
from .._wire.channel import Channel
from .._wire.flusher import flush_at_os_exit
from .._wire.titles import title_of
from . import current
from .asgi.recognize import refuse_returned_app
from .failure import why_it_repeats
from .first_frames import read_config, read_descriptor
from .listening import patch
from .load import load
from .session import Session
from .side import Side
from .signals import Signals, end_by_sigterm
from .thread import start_thread

if TYPE_CHECKING:
    from .._metrics.registry import Inherited


def main(inherited: Inherited | None = None) -> NoReturn:
    """Becomes the worker that the environment describes. Never returns.

    Args:
        inherited: What a fork server had counted when it forked this process; None: nothing has.
    """
    signals = Signals()
    signals.install()
    forget_in_forked_children()
    sock = socket.socket(fileno=int(os.environ[CHANNEL_FD]))
    sock.set_inheritable(False)
    config = read_config(sock)
    side = Side(read_descriptor(sock, frames.SideChannel))
    if config.token is not None:
        from .lease import end_with_lease, read_lease  # few need it

        end_with_lease(read_lease(sock))
    channel = Channel(sock)
    session = Session(int(os.environ[WORKER_ID]), channel, config, side, inherited)
    side.session = session
    current.adopt(session)
    flush_at_os_exit(channel)
    signals.session = session
    try:
        _pin(config.cpu)
        _end_with(session)
        _become(config)
        patch.install()
        target = load(config)
        faulthandler.enable()
        role = f"worker {config.slot}" if config.name is None else f"agent {config.name}"
        set_title(config.cluster, role, title_of(config.target))
        session.is_online = True
        session.hold.begin()
        channel.send(frames.Online(target.is_app).encode())
        channel.flush_blocking()
        if not inspect.iscoroutinefunction(target.run):  # else a loop runs next, which then hears of it
            session.hold.end()
        result = target.run()
        if inspect.isawaitable(result):
            _run(session, result)
        elif isinstance(config.target, frames.FunctionTarget):
            refuse_returned_app(result, str(config.target))
    except BaseException as error:
        _finish(session, error)
    _finish(session, None)


# ---- the primary


def _end_with(session: Session) -> None:
    """Ends this process when the primary ends, for whatever reason.

    On Linux the kernel kills it with its parent, even while it is stopped. On all systems, a thread waits until the
    other end of the channel is closed. That thread also reads the side channel.
    """
    # It does nothing in a worker of a fork server, which may outlive that: it kills its workers when the primary ends.
    die_with_parent(session.config.primary_pid)
    channel, side = session.channel.fileno(), session.side.fileno()
    poll = select.poll()
    poll.register(channel, 0)  # POLLHUP is always reported
    if side >= 0:
        poll.register(side, select.POLLIN)

    def wait() -> None:
        while all(fd == side for fd, _ in poll.poll()):
            if not session.side.read():
                poll.unregister(side)
        if not session.is_over:  # not channel.is_closed: the loop may have seen the hang-up first
            os.kill(os.getpid(), signal.SIGKILL)

    start_thread("aiocluster-primary-watch", wait)


# ---- this process


def _pin(cpu: int | None) -> None:
    """Has this process run on that CPU only. The threads that it starts later do, too; those that it has do not.

    Raises:
        OSError: It may not use that CPU.
    """
    if cpu is None:
        return
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        text = f"pin_cpus: this worker may not run on CPU {cpu}, which the primary may use: {error.strerror}"
        raise OSError(error.errno, text) from None


def _become(config: frames.WorkerConfig) -> None:
    """Applies the settings of the process itself. Its environment and working directory were set at its start."""
    become(config.uid, config.gid)
    die_with_parent(config.primary_pid)  # a change of uid or gid has reset it
    set_path(config)


def set_path(config: frames.WorkerConfig) -> None:
    """Makes ``sys.path`` start with the primary's."""
    known = set(config.path)
    sys.path[:] = config.path + [entry for entry in sys.path if entry and entry not in known]


# ---- the target


def _run(session: Session, awaitable: Awaitable[Any]) -> None:
    session.hold.begin()
    factory = None
    if session.config.loop != "asyncio" and "uvloop" in sys.modules:
        factory = sys.modules["uvloop"].new_event_loop

    async def run() -> None:
        try:
            await awaitable
        except Exception as error:
            await session.fail(error)
            raise
        finally:
            session.is_ending = True

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


# ---- the end


def _finish(session: Session, error: BaseException | None) -> NoReturn:
    """Reports how the target ended, closes the channel, and ends the process as Python would."""
    session.is_ending = True
    if session.leaving is not None and isinstance(error, (asyncio.CancelledError, KeyboardInterrupt)):
        error = None  # this is how leaving ends the main task
    if error is not None and not isinstance(error, (SystemExit, KeyboardInterrupt)):
        session.report_failure(error)
        if session.is_failure_told:
            sys.excepthook(type(error), error, error.__traceback__)
        error = SystemExit(1)
    elif error is not None and why_it_repeats(error) is not None:
        session.report_failure(error)
    session.say_last_word()
    session.channel.flush_blocking()
    session.is_over = True
    if session.is_terminated:
        session.hear_out()
        if session.leaving is None:
            end_by_sigterm()
    session.channel.close()
    raise error if error is not None else SystemExit(0)
