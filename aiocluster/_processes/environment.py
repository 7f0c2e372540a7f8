"""The environment variables that tell a process started by this package what it is."""

from __future__ import annotations

import os
from typing import Final

WORKER_ID: Final = "AIOCLUSTER_WORKER_ID"
"""A worker's id."""

SLOT: Final = "AIOCLUSTER_SLOT"
"""A worker's slot. Agents have none."""

CHANNEL_FD: Final = "AIOCLUSTER_CHANNEL_FD"
"""The descriptor of the channel to the primary, for a worker and for a fork server."""

PARENT_FD: Final = "AIOCLUSTER_PARENT_FD"
"""A child process's end of its channel, as ``descriptor:inode``. Node's name for it is NODE_CHANNEL_FD."""

KEPT_IN: Final = "AIOCLUSTER_KEPT_IN"
"""The folder with what is remembered of a cluster in the background, for its primary."""

OWN: Final = frozenset({WORKER_ID, SLOT, CHANNEL_FD, PARENT_FD, KEPT_IN})
"""All of these variables. They are never inherited: each is for one process only."""

SERVICE_MANAGERS: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}
)
"""Variables by which systemd talks to the process that it has started (sd_notify(3), sd_listen_fds(3)): to no other."""


def of_this_process() -> dict[str, str]:
    """Returns this process's environment, as workers get it: without `SERVICE_MANAGERS`."""
    return {name: value for name, value in os.environ.items() if name not in SERVICE_MANAGERS}
