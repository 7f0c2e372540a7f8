"""Process groups: a child and what it has started, ended together."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")


def signal_group(group: int, number: int) -> bool:
    """Sends all processes of a group a signal; says whether there are any that this one may send signals to."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def has_living(group: int) -> bool:
    """Whether any process of a group has not ended.

    Those that have, but nobody has waited for, do not count where `/proc` tells (proc(5)). An orphan is its new
    parent's to wait for, process 1 as a rule, and in a container that may do so late or never.
    """
    if not signal_group(group, 0):
        return False
    if not (_PROC / "self" / "stat").exists():
        return True
    return any(_lives_in(group, entry) for entry in os.listdir(_PROC) if entry.isdecimal())


def _lives_in(group: int, pid: str) -> bool:
    try:
        stat = (_PROC / pid / "stat").read_bytes()
    except OSError:
        return False
    state, _, of_group = stat[stat.rindex(b")") + 2 :].split(None, 3)[:3]
    return int(of_group) == group and state not in (b"Z", b"X")
