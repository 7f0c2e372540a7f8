"""A process becomes another user's."""

from __future__ import annotations

import os

from .login_group import login_group


def become(uid: int | None, gid: int | None) -> None:
    """Changes this process's user and group, and drops root's other groups.

    Args:
        uid: The user; None: this one.
        gid: The group; None: that of ``uid`` (`login_group`), or this one.

    Raises:
        OSError: Only root may.
    """
    group = login_group(uid) if gid is None else gid
    if group is not None:
        if os.geteuid() == 0:
            os.setgroups([])
        os.setgid(group)
    if uid is not None:
        os.setuid(uid)
