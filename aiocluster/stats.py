"""What a cluster knows of itself, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from .address import Address


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker, or agent.

    Attributes:
        id: Its number within the primary.
        pid: Its process id.
        name: An agent's name; else None.
        state: See `WorkerProcess.state`.
        connections: How many connections it has open that it took from shared ports.
        accepted: How many it has taken since it started.
        returned: How many that it was sent it gave back.
        redispatched: How many that it was sent went to others because it ended.
        calls: How many functions it runs for `Cluster.call`.
        loop_delay: Seconds its event loop was late at its last report.
        memory: Bytes of resident memory at its last report; 0 before the first.
        tasks: How many asyncio tasks it had at its last report.
        age: Seconds since it came online; 0 before.
    """

    id: int
    pid: int
    name: str | None
    state: str
    connections: int
    accepted: int
    returned: int
    redispatched: int
    calls: int
    loop_delay: float
    memory: int
    tasks: int
    age: float


@dataclass(frozen=True, slots=True)
class ListenerStats:
    """One shared port.

    Attributes:
        address: Where it is.
        scheduling: Its policy.
        accepted: How many connections the primary has accepted on it.
        waiting: How many it has accepted and no worker has taken yet.
    """

    address: Address
    scheduling: str
    accepted: int
    waiting: int


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """A cluster at one moment.

    Attributes:
        workers: One entry for each worker and agent.
        listeners: One entry for each shared port.
        restarts: How many workers have been replaced because they ended unasked.
    """

    workers: tuple[WorkerStats, ...]
    listeners: tuple[ListenerStats, ...]
    restarts: int
