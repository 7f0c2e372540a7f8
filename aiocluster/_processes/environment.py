"""The environment variables that tell a process of ours what it is."""

from __future__ import annotations

from typing import Final

WORKER_ID: Final = "AIOCLUSTER_WORKER_ID"
"""A worker's id."""

CHANNEL_FD: Final = "AIOCLUSTER_CHANNEL_FD"
"""The descriptor of the channel to the primary, for a worker and for a fork server."""

STDERR_FD: Final = "AIOCLUSTER_STDERR_FD"
"""The descriptor of a worker's real stderr: its descriptor 2 is a file until it is online."""

PARENT_FD: Final = "AIOCLUSTER_PARENT_FD"
"""A child's end of its channel, as ``descriptor:inode``; Node has NODE_CHANNEL_FD."""

OWN: Final = frozenset({WORKER_ID, CHANNEL_FD, STDERR_FD, PARENT_FD})
"""All of them. No process inherits one: each is meant for the one process that it was made for."""
