"""The environment variables that tell a process started by this package what it is."""

from __future__ import annotations

from typing import Final

WORKER_ID: Final = "AIOCLUSTER_WORKER_ID"
"""A worker's id."""

SLOT: Final = "AIOCLUSTER_SLOT"
"""A worker's slot. Agents have none."""

CHANNEL_FD: Final = "AIOCLUSTER_CHANNEL_FD"
"""The descriptor of the channel to the primary, for a worker and for a fork server."""

PARENT_FD: Final = "AIOCLUSTER_PARENT_FD"
"""A child process's end of its channel, as ``descriptor:inode``. Node's name for it is NODE_CHANNEL_FD."""

OWN: Final = frozenset({WORKER_ID, SLOT, CHANNEL_FD, PARENT_FD})
"""All of these variables. They are never inherited: each is for one process only."""
