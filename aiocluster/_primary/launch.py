"""Starts workers, and processes of the cluster's own: command line, environment and standard streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .._interruption import is_interruption
from .._processes import start
from .._processes.environment import CHANNEL_FD, SLOT, WORKER_ID, of_this_process
from .._processes.exit_status import ExitStatus
from .._processes.orphans import adopts
from .._processes.signals import OURS, blocked
from .._processes.stdio import PipeReader, open_channel, standard
from .._processes.watch import Process
from .._wire.conversation import described
from ..settings import Env, Settings, Stdin, variables
from . import instance_id
from .folders import Folders
from .relay import Origin, Relayed, Relays, SilentStderr

_PACKAGE_PARENT = str(Path(__file__).parent.parent.parent)
_OURS_AFTER = 0.02  # seconds between a SIGTERM and `OURS`


@dataclass(frozen=True, slots=True)
class Streams:
    """The standard streams of a process that is about to start.

    Attributes:
        theirs: The descriptors that it starts with.
        stdout: Our end of its stdout if it is silent; else None.
        stderr: Our end of its stderr: a `SilentStderr` if it is silent, else one that is passed on.
        origin: Who it is, for what is passed on.
        relayed_stdout: Our end of its stdout if that is passed on; else None.
    """

    theirs: tuple[int, int, int]
    stdout: PipeReader | None
    stderr: SilentStderr | Relayed
    origin: Origin
    relayed_stdout: Relayed | None = None


@contextlib.contextmanager
def open_streams(
    relays: Relays, place: int | str | None, *, stdin: Stdin = None, silent: bool = False
) -> Iterator[Streams]:
    """Opens the streams of a process.

    On exit the process's ends are closed in this process; after an exception, our ends are closed too.

    Args:
        relays: Pass its output on, unless it is silent.
        place: Its slot, or an agent's name; None for a fork server.
        stdin: The setting ``stdin``.
        silent: The setting ``silent``.

    Raises:
        OSError: No descriptors are left.
    """
    origin = Origin(place)
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as undo:
        if stdin == "inherit":
            stdin = standard(0)
        first = _null(theirs) if stdin is None else stdin if isinstance(stdin, int) else stdin.fileno()
        if silent:
            ours, second = _pipe(theirs)
            stdout = PipeReader(ours)
            undo.callback(stdout.close)
            ours, third = _pipe(theirs)
            silent_stderr = SilentStderr(ours)
            undo.callback(silent_stderr.close)
            yield Streams((first, second, third), stdout, silent_stderr, origin)
        else:
            relayed_stdout = None
            if relays.stdout is not None:
                relayed_stdout, second = theirs.enter_context(relays.stdout.open(origin))
            else:
                inherited = standard(1)
                second = _null(theirs) if inherited is None else inherited
            relayed, third = theirs.enter_context(relays.stderr.open(origin))
            yield Streams((first, second, third), None, relayed, origin, relayed_stdout)
        undo.pop_all()


def _null(theirs: contextlib.ExitStack) -> int:
    fd = os.open(os.devnull, os.O_RDWR)
    theirs.callback(os.close, fd)
    return fd


def _pipe(theirs: contextlib.ExitStack) -> tuple[int, int]:
    ours, write = os.pipe()
    theirs.callback(os.close, write)
    return ours, write


class Child:
    """A worker or a fork server that has been started.

    Attributes:
        pid: The process id.
        stdout: The process's stdout if it is silent; else None.
        stderr: The process's stderr if it is silent; else None.
    """

    def __init__(self, process: Process, streams: Streams) -> None:
        self.pid: int = process.pid
        self.stdout: PipeReader | None = streams.stdout
        self.stderr: PipeReader | None = streams.stderr if isinstance(streams.stderr, PipeReader) else None
        self._stderr = streams.stderr
        self._relayed_stdout = streams.relayed_stdout
        self._process = process
        streams.origin.pid = process.pid
        self._loop = asyncio.get_running_loop()
        process.ended.add_done_callback(self._on_ended)

    def _on_ended(self, future: asyncio.Future[ExitStatus]) -> None:
        self._process.reap()
        self._stderr.settle()
        if self._relayed_stdout is not None:
            self._relayed_stdout.settle()

    def watch(self, ended: Callable[[ExitStatus], None]) -> None:
        """Calls ``ended`` once, on the running loop, when the process has ended."""

        def on_ended(future: asyncio.Future[ExitStatus]) -> None:
            ended(future.result())

        self._process.ended.add_done_callback(on_ended)

    def send_signal(self, number: int) -> None:
        """Sends a signal. Does nothing if the process has ended."""
        if self._process.send_signal(number) and number == signal.SIGTERM:
            # Not at once: with two pending, the kernel may give both to a thread that does not wake the main thread.
            loop = self._loop
            loop.call_soon_threadsafe(loop.call_later, _OURS_AFTER, self._process.send_signal, OURS)

    def tell_to_leave(self) -> None:
        """Sends SIGTERM without `OURS`: a worker that runs no event loop then ends in order, and not at once."""
        self._process.send_signal(signal.SIGTERM)

    def stderr_tail(self) -> bytes:
        """Returns the last `TAIL` bytes that it has written to stderr."""
        return self._stderr.tail()

    def last_words(self) -> str:
        """Returns the same as text, for errors."""
        return self.stderr_tail().decode(errors="replace").strip()

    async def discard(self) -> None:
        """Kills a process that nothing else knows of yet, and returns when it has ended. The streams are closed."""
        self.send_signal(signal.SIGKILL)
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        await asyncio.wait([self._process.ended])


def variables_for(env: Env, slot: int | None) -> Mapping[str, str]:
    """Returns the variables that the setting ``env`` adds to the environment of a worker in this slot.

    Args:
        env: The setting.
        slot: The slot; None for an agent or a fork server, for which a function is not called.

    Raises:
        ValueError: The function raised, or returned what can't be a variable.
        TypeError: It returned no mapping of str to str.
    """
    if env is None or isinstance(env, Mapping):
        return env or {}
    if slot is None:
        return {}
    what = f"env for slot {slot}"
    try:
        found = env(slot)
        if isinstance(found, Mapping):
            found = dict(found)  # the user's code, too
    except BaseException as error:
        if is_interruption(error):
            raise
        text = f"{type(error).__qualname__}: {described(error)[1]}".removesuffix(": ")
        raise ValueError(f"{what}: the function raised {text}") from error
    return variables(what, found)


def cpu_for(slot: int) -> int:
    """Returns the CPU that a worker in this slot is pinned to: the slots take those in turn that this process may use.

    It is asked for at each fork, because cpuset(7) and taskset(1) change what a running process may use.
    """
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[slot % len(cpus)]


def environment(common: Mapping[str, str], env: Mapping[str, str], worker_id: int, slot: int | None) -> dict[str, str]:
    """Returns a worker's environment, without the variables that name descriptors.

    Args:
        common: The variables that the setting ``env`` adds to this process's own, for all workers.
        env: The worker's own variables.
        worker_id: Its id.
        slot: Its slot; None for an agent.
    """
    own = {WORKER_ID: str(worker_id)} if slot is None else {WORKER_ID: str(worker_id), SLOT: str(slot)}
    shared = {**of_this_process(), **common}
    return start.environment({**shared, **instance_id.for_worker(shared, worker_id), **env}, own)


def command(settings: Settings, module: str, folders: Folders) -> list[str]:
    """Returns the command line of an interpreter that runs ``main()`` of this module."""
    # Remove the working directory from sys.path: a queue.py in it would hide the standard module.
    path = f"sys.path[:] = [*filter(None, sys.path), {folders.now(_PACKAGE_PARENT)!r}]"
    code = f"import sys; {path}; from {module} import main; main()"
    executable = settings.executable or folders.now(sys.executable)
    return [os.fspath(executable), *_own_options(), *settings.exec_args, "-c", code]


def _own_options() -> list[str]:
    """Returns the options that this interpreter was started with, as multiprocessing passes them on."""
    options: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    is_unbuffered = getattr(sys.__stdout__, "write_through", False)  # -u leaves no other trace
    return [*options, "-u"] if is_unbuffered else options


def spawn(
    settings: Settings,
    env: Mapping[str, str],
    channel: socket.socket,
    relays: Relays,
    folders: Folders,
    place: int | str,
) -> Child:
    """Starts a new interpreter that becomes a worker on this channel.

    Args:
        settings: The settings.
        env: The worker's environment; see `environment`.
        channel: The worker's end of its channel.
        relays: Pass on its output, unless it is silent.
        folders: Where this process was started from.
        place: Its slot, or an agent's name.

    Raises:
        OSError: The interpreter can't be started.
    """
    with open_streams(relays, place, stdin=settings.stdin, silent=settings.silent) as streams, blocked():
        process = start.start(
            command(settings, "aiocluster._worker.bootstrap", folders),
            streams.theirs,
            env={**env, CHANNEL_FD: str(channel.fileno())},
            cwd=folders.cwd(settings.cwd),
            pass_fds=(channel.fileno(),),
            session=adopts(),
        )
        return Child(process, streams)


@contextlib.contextmanager
def spawn_helper(
    settings: Settings, module: str, relays: Relays, folders: Folders
) -> Iterator[tuple[Child, socket.socket]]:
    """Starts a new interpreter of the cluster's own, which is no worker: a fork server, or what keeps the state.

    If the block raises, the process is killed, and our end of its channel is closed.

    Args:
        settings: The settings.
        module: Its ``main()`` is run. It finds its end of the channel by ``AIOCLUSTER_CHANNEL_FD``.
        relays: Pass on what it writes to stderr.
        folders: Where this process was started from.

    Raises:
        OSError: The interpreter can't be started.
    """
    with open_channel() as (ours, theirs), open_streams(relays, None) as streams, contextlib.ExitStack() as undo:
        own = {CHANNEL_FD: str(theirs.fileno())}
        env = {**of_this_process(), **variables_for(settings.env, None)}
        with blocked():
            process = start.start(
                command(settings, module, folders),
                streams.theirs,
                env=start.environment({**env, **instance_id.for_helper(env)}, own),
                cwd=folders.cwd(settings.cwd),
                pass_fds=(theirs.fileno(),),
                session=adopts(),
            )
        undo.callback(process.send_signal, signal.SIGKILL)
        yield Child(process, streams), ours
        undo.pop_all()
