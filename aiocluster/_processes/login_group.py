"""The group of a process that is started as another user."""

from __future__ import annotations

import os

_NOBODYS = 65534  # "nogroup", which owns no files


def login_group(uid: int | None) -> int | None:
    """The group for a process that is to run as this user, if nobody has named one; None if it keeps its group.

    A process of another user must not stay in root's group, which root's files are open to. So it gets the user's own
    group (passwd(5)), as with ``User=`` of systemd.exec(5); a user who is not listed there gets the group of nobody.
    """
    if uid is None or os.geteuid() != 0 or uid == 0:
        return None
    import pwd  # not every worker needs it

    try:
        return pwd.getpwuid(uid).pw_gid
    except (KeyError, OverflowError):
        return _NOBODYS
