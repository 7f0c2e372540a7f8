"""The asyncio-native cluster framework: worker processes that share ports and exchange messages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._lazy import attributes, listing

if sys.platform == "win32":
    raise ImportError(
        "aiocluster needs Unix sockets that carry descriptors, which Windows has not: use Linux, macOS or WSL"
    )

if TYPE_CHECKING:
    from ._primary.primary import Primary
    from ._primary.worker_process import WorkerProcess
    from ._supervise.cluster import Cluster
    from ._supervise.restart import RestartPolicy
    from ._worker.current import current_worker, is_primary, is_worker
    from ._worker.listening.exclusive import exclusive
    from ._worker.listening.listener import listen, listen_fd
    from ._worker.worker import Worker
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
    from .settings import Settings
    from .stats import ClusterStats

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
    "Primary": "_primary.primary",
    "WorkerProcess": "_primary.worker_process",
    "Settings": "settings",
    "Cluster": "_supervise.cluster",
    "ClusterStats": "stats",
    "RestartPolicy": "_supervise.restart",
    "current_worker": "_worker.current",
    "is_primary": "_worker.current",
    "is_worker": "_worker.current",
    "exclusive": "_worker.listening.exclusive",
    "listen": "_worker.listening.listener",
    "listen_fd": "_worker.listening.listener",
    "Worker": "_worker.worker",
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
