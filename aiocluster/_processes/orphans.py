"""As process 1, reaping processes that others have started: the kernel gives process 1 the children of the dead.

In a container without an init, the primary is process 1, and what its workers' commands leave behind becomes its child.
Waiting for any child (``waitpid(-1)``, as an init does) would take exit statuses away from `subprocess`, asyncio and
multiprocessing in this process. So only a zombie that is certainly adopted is reaped, which its session tells: a
process starts in its parent's session, and leaves it only for one of its own (setsid(2)). One that is in neither, this
process has not started. Workers of a primary that is process 1 lead sessions, so that what they start is recognized.

What the primary's own code starts and leaves behind, and session leaders whose parent has ended, are not recognized.
Where this matters, give the container an init (``docker run --init``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

_INTERVAL = 1.0  # seconds
_CHILDREN = Path("/proc/1/task/1/children")  # Linux: adopted processes are children of the main thread


def adopts() -> bool:
    """Whether this process is process 1, and `/proc` (proc(5)) shows its children."""
    if os.getpid() != 1:
        return False
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self") == "1" and _CHILDREN.exists()
    return False


class Orphans:
    """Reaps adopted processes from `start` to `stop`, if this process is process 1."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Looks once a second from now on. There is no event to wait for that other code does not need."""
        if adopts():
            self._look()

    def stop(self) -> None:
        """Looks a last time."""
        if self._timer is not None:
            self._timer.cancel()
            self._look()
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._look)
        reap_adopted()


def reap_adopted() -> None:
    """Reaps the zombies that this process, which is process 1, has certainly not started."""
    own = os.getsid(0)
    for pid in map(int, _CHILDREN.read_text().split()):
        if _session_of_zombie(pid) not in (None, own, pid):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _session_of_zombie(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, _, _, session = stat[stat.rindex(b")") + 2 :].split(None, 4)[:4]
    return int(session) if state == b"Z" else None
