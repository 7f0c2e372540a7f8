"""``spawn`` and ``fork``: start child processes that run beside this one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

from .._checks import arguments, number
from .._processes.environment import PARENT_FD
from .._processes.start import environment, start
from .._processes.stdio import open_channel, open_stdio
from ._child import ChildProcess
from ._stdio import StdioOption, plan

StrPath = str | os.PathLike[str]


async def spawn(
    command: StrPath,
    args: Sequence[StrPath] = (),
    *,
    stdio: StdioOption = "pipe",
    cwd: StrPath | None = None,
    env: Mapping[str, str] | None = None,
    argv0: str | None = None,
    shell: bool | str = False,
    uid: int | None = None,
    gid: int | None = None,
    detached: bool = False,
    timeout: float | None = None,
    kill_signal: signal.Signals | int = signal.SIGTERM,
) -> ChildProcess:
    """Starts any program, like Node's ``child_process.spawn``. Its output can be read while it runs.

    It inherits its three streams, and its channel if it has one, but no other descriptors.

    Args:
        command: The program: a path, or a name that is looked for in ``PATH``.
        args: Its arguments.
        stdio: ``"pipe"``, ``"ignore"`` (``/dev/null``) or ``"inherit"`` for all three streams, or a tuple
            ``(stdin, stdout, stderr)`` in which each is one of these words, a descriptor or an object with
            ``fileno()``. The caller still owns these. None or a missing entry means ``"pipe"``. With ``"ipc"`` as the
            fourth entry the child gets a message channel.
        cwd: Its working directory; None: this process's.
        env: Its complete environment; None: this process's.
        argv0: Its ``argv[0]``; None: ``command``.
        shell: True: ``/bin/sh`` runs ``command``, with the arguments quoted; a path: that shell runs it.
        uid: Its user; needs root.
        gid: Its group; needs root. None: with another ``uid``, that user's own group (passwd(5)).
        detached: Whether it leads its own session and may outlive this process; see `ChildProcess.aclose`.
        timeout: Seconds after which it is sent ``kill_signal``; None: never.
        kill_signal: That signal.

    Raises:
        OSError: It can't be started; for example FileNotFoundError or PermissionError.
        ValueError: ``stdio`` is invalid, or the timeout is below 0, infinite, or nan.
        TypeError: The timeout is not a number, or ``args`` is one text instead of a sequence.
    """
    planned = plan(stdio)
    if timeout is not None:
        number("timeout", timeout, at_least=0, unit="seconds")
    await asyncio.sleep(0)  # the only await, so a cancellation never loses a started child
    argv = [os.fspath(command), *map(os.fspath, arguments("args", args))]
    if shell:
        line = " ".join([argv[0], *map(shlex.quote, argv[1:])])
        argv = ["/bin/sh" if shell is True else shell, "-c", line]
    file = argv[0]
    if argv0 is not None:
        argv[0] = argv0
    with contextlib.ExitStack() as opened:
        streams = opened.enter_context(open_stdio(*planned.streams))
        channel, theirs = opened.enter_context(open_channel()) if planned.has_channel else (None, None)
        process = start(
            argv,
            streams.theirs,
            executable=file,
            env=environment(env, _parent_fd(theirs) if theirs is not None else {}),
            pass_fds=() if theirs is None else (theirs.fileno(),),
            cwd=cwd,
            uid=uid,
            gid=gid,
            session=detached,
        )
        try:
            return ChildProcess._create(
                process,
                streams,
                channel,
                spawn_file=file,
                spawn_args=argv,
                detached=detached,
                timeout=timeout,
                kill_signal=kill_signal,
            )
        except BaseException:
            process.send_signal(signal.SIGKILL)
            process.release()
            raise


def _parent_fd(channel: socket.socket) -> dict[str, str]:
    # The number alone is not enough: a process may inherit the variable without the descriptor, and have another file
    # open under that number. The inode tells them apart.
    fd = channel.fileno()
    return {PARENT_FD: f"{fd}:{os.fstat(fd).st_ino}"}


async def fork(
    script: StrPath,
    args: Sequence[StrPath] = (),
    *,
    exec_path: StrPath | None = None,
    exec_args: Sequence[str] = (),
    silent: bool = False,
    stdio: StdioOption | None = None,
    cwd: StrPath | None = None,
    env: Mapping[str, str] | None = None,
    uid: int | None = None,
    gid: int | None = None,
    detached: bool = False,
    timeout: float | None = None,
    kill_signal: signal.Signals | int = signal.SIGTERM,
) -> ChildProcess:
    """Starts a Python script with a message channel, like Node's ``child_process.fork``.

    The script runs in a new interpreter, not in a copy of this one. There, ``child_process.parent()`` is the other end.

    Args:
        script: The script's path.
        args: Its arguments, ``sys.argv[1:]``.
        exec_path: The interpreter; None: this one.
        exec_args: The interpreter's own arguments, such as ``("-X", "dev")``.
        silent: Whether its three streams are pipes instead of this process's. Ignored if ``stdio`` is given.
        stdio: As for `spawn`; its fourth entry must be ``"ipc"``.
        cwd: Its working directory; None: this process's.
        env: Its complete environment; None: this process's.
        uid: Its user; needs root.
        gid: Its group; needs root. None: with another ``uid``, that user's own group (passwd(5)).
        detached: Whether it leads its own session and may outlive this process; see `ChildProcess.aclose`.
        timeout: Seconds after which it is sent ``kill_signal``; None: never.
        kill_signal: That signal.

    Raises:
        OSError: The interpreter can't be started. If the script does not exist, the child ends with exit code 2.
        ValueError: ``stdio`` is invalid or has no ``"ipc"``, or the timeout is below 0, infinite, or nan.
        TypeError: The timeout is not a number, or ``args`` is one text instead of a sequence.
    """
    if stdio is None:
        stdio = (*("pipe" if silent else "inherit",) * 3, "ipc")
    if not plan(stdio).has_channel:
        raise ValueError(f'fork() needs a channel: stdio must have "ipc" as its fourth entry, not {stdio!r}')
    return await spawn(
        sys.executable if exec_path is None else exec_path,
        [*arguments("exec_args", exec_args), script, *arguments("args", args)],
        stdio=stdio,
        cwd=cwd,
        env=env,
        uid=uid,
        gid=gid,
        detached=detached,
        timeout=timeout,
        kill_signal=kill_signal,
    )
