"""Starting a process: its program, its environment, and what it inherits."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from .environment import OWN
from .watch import OwnProcess

Streams = tuple[int | None, int | None, int | None]
"""Standard input, output and error, as `subprocess.Popen` takes them: a descriptor, or None for this process's own."""


def environment(env: Mapping[str, str] | None, own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that is started from here.

    Args:
        env: What was asked for; None: this process's. What tells this process what it is itself is left out.
        own: The variables that tell the new process what it is.
    """
    given = os.environ if env is None else env
    return {**{name: value for name, value in given.items() if name not in OWN}, **own}


def start(
    argv: Sequence[str | os.PathLike[str]],
    streams: Streams,
    *,
    env: Mapping[str, str],
    executable: str | None = None,
    cwd: str | os.PathLike[str] | None = None,
    pass_fds: Sequence[int] = (),
    uid: int | None = None,
    gid: int | None = None,
    session: bool = False,
    group: int | None = None,
) -> OwnProcess:
    """Starts a process. What was opened for it may be closed here afterwards.

    Args:
        argv: Its arguments, from the zeroth on.
        streams: Its standard streams.
        env: Its whole environment; see `environment`.
        executable: The program, if it is not ``argv[0]``.
        cwd: Its working directory.
        pass_fds: The other descriptors that it inherits.
        uid: Its user; root only. Like ``gid``, it takes root's other groups away.
        gid: Its group; root only.
        session: It leads a session of its own: no terminal, and a process group of its own.
        group: 0: it leads a process group of its own.

    Raises:
        OSError: It can't be started.
    """
    stdin, stdout, stderr = streams
    popen = subprocess.Popen(
        argv,
        executable=executable,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        pass_fds=pass_fds,
        user=uid,
        group=gid,
        extra_groups=[] if os.getuid() == 0 and (uid is not None or gid is not None) else None,
        start_new_session=session,
        process_group=group,
    )
    popen.returncode = 0  # so that its destructor leaves the process alone: `OwnProcess` reaps it
    try:
        return OwnProcess(popen.pid)
    except BaseException:  # no descriptor was left to watch it by
        os.kill(popen.pid, signal.SIGKILL)
        os.waitpid(popen.pid, 0)
        raise
