"""Starts a process, with its environment and the descriptors that it inherits."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from .environment import OWN
from .login_group import login_group
from .signals import hear_children
from .watch import OwnProcess

Streams = tuple[int | None, int | None, int | None]
"""stdin, stdout and stderr, as `subprocess.Popen` takes them: a descriptor, or None for this process's own."""


def environment(env: Mapping[str, str] | None, own: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a new process.

    Args:
        env: The requested environment; None: this process's. The variables in `OWN` are left out.
        own: The variables in `OWN` that are meant for the new process.
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
    """Starts a process. Afterwards the descriptors opened for it may be closed in this process.

    Args:
        argv: Its arguments, including ``argv[0]``.
        streams: Its standard streams.
        env: Its complete environment; see `environment`.
        executable: The program, if it is not ``argv[0]``.
        cwd: Its working directory.
        pass_fds: Other descriptors that it inherits.
        uid: Its user; root only. This and ``gid`` also remove root's supplementary groups.
        gid: Its group; root only. None: the group of ``uid``, if that is given (`login_group`).
        session: Whether it leads a new session, with a new process group and no terminal (setsid(2)).
        group: Its process group; 0: it leads a new one (setpgid(2)).

    Raises:
        OSError: It can't be started.
    """
    hear_children()
    stdin, stdout, stderr = streams
    group_id = login_group(uid) if gid is None else gid
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
        group=group_id,
        extra_groups=[] if os.geteuid() == 0 and group_id is not None else None,
        start_new_session=session,
        process_group=group,
    )
    popen.returncode = 0  # keeps Popen's destructor from reaping the process: `OwnProcess` does that
    try:
        return OwnProcess(popen.pid)
    except BaseException:  # no descriptor was left for its pidfd
        os.kill(popen.pid, signal.SIGKILL)
        os.waitpid(popen.pid, 0)
        raise
