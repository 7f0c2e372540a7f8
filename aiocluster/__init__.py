"""The asyncio-native cluster framework: worker processes that share ports and exchange messages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .lazy import attributes, listing

if sys.platform == "win32":
    raise ImportError(
        "aiocluster needs Unix sockets that carry descriptors, which Windows has not: use Linux, macOS or WSL"
    )

if TYPE_CHECKING:
    from .errors import (
        ChannelClosedError,
        ChildTimeoutError,
        ClusterError,
        HandleError,
        MaxBufferError,
        MessageTooLargeError,
        ProtocolError,
        ReloadError,
        RemoteError,
        RestartLimitError,
        SerializationError,
        StartupError,
        TargetError,
        WorkerNotFoundError,
    )
    from .events import Address
    from .primary.primary import Primary
    from .primary.process import WorkerProcess
    from .settings import Settings
    from .stats import ClusterStats
    from .supervise.cluster import Cluster
    from .supervise.restart import RestartPolicy
    from .worker.current import current_worker, is_primary, is_worker
    from .worker.listen import exclusive
    from .worker.streams import listen, listen_fd
    from .worker.worker import Worker

# Imported when they are first used: a worker starts faster without the primary's half.
_HOMES = {
    "ChannelClosedError": "errors",
    "ChildTimeoutError": "errors",
    "ClusterError": "errors",
    "HandleError": "errors",
    "MaxBufferError": "errors",
    "MessageTooLargeError": "errors",
    "ProtocolError": "errors",
    "ReloadError": "errors",
    "RemoteError": "errors",
    "RestartLimitError": "errors",
    "SerializationError": "errors",
    "StartupError": "errors",
    "TargetError": "errors",
    "WorkerNotFoundError": "errors",
    "Address": "events",
    "Primary": "primary.primary",
    "WorkerProcess": "primary.process",
    "Settings": "settings",
    "Cluster": "supervise.cluster",
    "ClusterStats": "stats",
    "RestartPolicy": "supervise.restart",
    "current_worker": "worker.current",
    "is_primary": "worker.current",
    "is_worker": "worker.current",
    "exclusive": "worker.listen",
    "listen": "worker.streams",
    "listen_fd": "worker.streams",
    "Worker": "worker.worker",
}

__all__ = [  # noqa: RUF022 - the order of the table above
    "ChannelClosedError",
    "ChildTimeoutError",
    "ClusterError",
    "HandleError",
    "MaxBufferError",
    "MessageTooLargeError",
    "ProtocolError",
    "ReloadError",
    "RemoteError",
    "RestartLimitError",
    "SerializationError",
    "StartupError",
    "TargetError",
    "WorkerNotFoundError",
    "Address",
    "Primary",
    "WorkerProcess",
    "Settings",
    "Cluster",
    "ClusterStats",
    "RestartPolicy",
    "current_worker",
    "is_primary",
    "is_worker",
    "exclusive",
    "listen",
    "listen_fd",
    "Worker",
]

__getattr__ = attributes(__name__, _HOMES)
__dir__ = listing(__name__, _HOMES)
