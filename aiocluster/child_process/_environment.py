"""The environment of a child: its parent's, without what tells the parent itself what it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

PARENT_FD: Final = "AIOCLUSTER_PARENT_FD"
"""Names the child's end of its channel, as ``descriptor:inode``, as NODE_CHANNEL_FD does in Node."""

_OWN: Final = frozenset({PARENT_FD, "AIOCLUSTER_WORKER_ID", "AIOCLUSTER_CHANNEL_FD", "AIOCLUSTER_STDERR_FD"})


def environment(env: Mapping[str, str] | None, channel_fd: int | None) -> dict[str, str]:
    """A child's.

    Args:
        env: What was asked for; None: this process's.
        channel_fd: The child's end of its channel; None if there is none.
    """
    given = os.environ if env is None else env
    child = {name: value for name, value in given.items() if name not in _OWN}
    if channel_fd is not None:
        # A descriptor's number says little: whoever inherits the variable, but not the descriptor, may have another one
        # of that number. The inode tells.
        child[PARENT_FD] = f"{channel_fd}:{os.fstat(channel_fd).st_ino}"
    return child
