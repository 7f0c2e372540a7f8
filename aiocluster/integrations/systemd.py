"""systemd's socket activation (sd_listen_fds(3)). It is two environment variables and needs no library."""

from __future__ import annotations

import os

_FIRST = 3  # SD_LISTEN_FDS_START


def inherited_descriptors() -> list[int]:
    """Returns the listening sockets that systemd passed to this process; empty without socket activation.

    Pass each to `Primary.listen_fd`; workers that listen on its address then get it. The variables are removed, so that
    workers don't take them as meant for themselves.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    fds = list(range(_FIRST, _FIRST + int(count)))
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds
