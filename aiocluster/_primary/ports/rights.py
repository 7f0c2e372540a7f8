"""Acting on files with a worker's rights, which may be fewer than the primary's."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

_ID = 0xFFFFFFFF  # an unsigned number of 32 bits


class Rights(NamedTuple):
    """The user and the group by which the kernel decides what a process may do with files."""

    uid: int
    gid: int


def own_rights() -> Rights:
    """Those of this process."""
    return Rights(os.geteuid(), os.getegid())


def rights_of(pid: int) -> Rights | None:
    """The rights that this process has now; None if they can't be told."""
    if os.geteuid() != 0:
        return own_rights()  # a worker can't have others: this process could not have given it any
    try:
        with open(f"/proc/{pid}/status") as file:
            status = file.read()
    except OSError:
        return None
    uids, gids = (re.search(rf"^{name}:\s+(.*)$", status, re.MULTILINE) for name in ("Uid", "Gid"))
    if uids is None or gids is None:
        return None
    return Rights(int(uids[1].split()[3]), int(gids[1].split()[3]))  # real, effective, saved, file system: proc(5)


@contextlib.contextmanager
def acting_with(rights: Rights) -> Iterator[None]:
    """Lets this thread act on files with these rights (setfsuid(2)), which only Linux has. Never awaits inside.

    Raises:
        PermissionError: This system can't do that, and the rights are not our own.
    """
    own = own_rights()
    if rights == own:
        yield
        return
    if sys.platform != "linux" or own.uid != 0:
        raise PermissionError("this process can't take on another one's rights")
    import ctypes  # slow to import, and rarely needed

    libc = ctypes.CDLL(None)
    libc.setfsgid(rights.gid)
    libc.setfsuid(rights.uid)  # also takes root's capabilities for files away
    try:
        if (libc.setfsuid(-1) & _ID, libc.setfsgid(-1) & _ID) != rights:
            raise PermissionError("the kernel refuses these rights")
        yield
    finally:
        libc.setfsuid(own.uid)
        libc.setfsgid(own.gid)
