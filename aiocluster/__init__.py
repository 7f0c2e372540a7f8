"""The asyncio-native cluster framework: worker processes that share ports and exchange messages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._lazy import exports as _exports

if sys.platform == "win32":
    raise ImportError(
        "aiocluster needs Unix sockets that carry descriptors, which Windows lacks: use Linux, macOS or WSL"
    )

if TYPE_CHECKING:
    # isort: off
    from . import metrics as metrics
    from ._primary.primary import Primary as Primary
    from ._primary.worker_process import WorkerProcess as WorkerProcess
    from ._state.lock import Lease as Lease
    from ._state.mirror import Mirror as Mirror
    from ._state.state import State as State
    from ._state.watch import Change as Change, Changes as Changes
    from ._supervise.cluster import Cluster as Cluster
    from ._worker.current import current_worker as current_worker, is_primary as is_primary, is_worker as is_worker
    from ._worker.listening.exclusive import exclusive as exclusive
    from ._worker.listening.listener import listen as listen, listen_fd as listen_fd
    from ._wire.subscription import Subscription as Subscription
    from ._worker.worker import Worker as Worker
    from .address import Address as Address
    from .errors import (
        BackplaneError as BackplaneError,
        BackplaneStartupError as BackplaneStartupError,
        ChannelClosedError as ChannelClosedError,
        ChildTimeoutError as ChildTimeoutError,
        ClusterError as ClusterError,
        HandleError as HandleError,
        MaxBufferError as MaxBufferError,
        MessageTooLargeError as MessageTooLargeError,
        ProtocolError as ProtocolError,
        ReloadError as ReloadError,
        RemoteError as RemoteError,
        RestartLimitError as RestartLimitError,
        StoppingError as StoppingError,
        SerializationError as SerializationError,
        StartupError as StartupError,
        TargetError as TargetError,
        WorkerNotFoundError as WorkerNotFoundError,
    )
    from .fleet import Fleet as Fleet
    from .settings import Agent as Agent, RestartPolicy as RestartPolicy, Settings as Settings
    from .stats import ClusterStats as ClusterStats
else:
    # Imported when first used: a worker starts faster without the primary's modules.
    __getattr__, __dir__, __all__ = _exports(
        __name__,
        {
            "._primary.primary": "Primary",
            "._primary.worker_process": "WorkerProcess",
            "._state.lock": "Lease",
            "._state.mirror": "Mirror",
            "._state.state": "State",
            "._state.watch": "Change Changes",
            "._supervise.cluster": "Cluster",
            "._wire.subscription": "Subscription",
            "._worker.current": "current_worker is_primary is_worker",
            "._worker.listening.listener": "listen listen_fd",
            "._worker.listening.exclusive": "exclusive",
            "._worker.worker": "Worker",
            ".address": "Address",
            ".errors": "BackplaneError BackplaneStartupError ChannelClosedError ChildTimeoutError ClusterError "
            "HandleError MaxBufferError MessageTooLargeError ProtocolError ReloadError RemoteError RestartLimitError "
            "SerializationError StartupError StoppingError TargetError WorkerNotFoundError",
            ".fleet": "Fleet",
            ".settings": "Agent RestartPolicy Settings",
            ".stats": "ClusterStats",
        },
        modules=["metrics"],
    )
