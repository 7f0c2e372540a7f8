"""systemd's socket activation (sd_listen_fds(3)), without a library: it is two environment variables."""

from __future__ import annotations

import os

_FIRST = 3  # SD_LISTEN_FDS_START


def inherited_descriptors() -> list[int]:
    """The listening sockets that systemd has passed to this process; none if it has not been started that way.

    Pass each to `Primary.listen_fd`; workers that listen on its address then get it. The variables are removed, so that
    workers don't take the descriptors for theirs.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    fds = list(range(_FIRST, _FIRST + int(count)))
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds
