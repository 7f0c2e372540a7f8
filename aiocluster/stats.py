"""The current numbers of a cluster, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from .address import Address


@dataclass(frozen=True, slots=True)
class SlowLoop:
    """A time when an event loop was blocked for longer than the setting ``slow_loop``.

    Attributes:
        seconds: For how long; if it still is, how long it had been when it was found.
        where: Where its thread was: ``"shop/web.py:88 in quote"``.
        at: When it was found, in seconds since the epoch.
    """

    seconds: float
    where: str
    at: float


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker, or agent.

    Attributes:
        id: Its number within the primary.
        slot: Its slot; None for an agent.
        pid: Its process id.
        name: An agent's name; else None.
        state: See `WorkerProcess.state`.
        connections: How many connections from shared ports it has open.
        accepted: How many connections it has taken since it started.
        returned: How many connections it returned to the primary without taking them.
        redispatched: How many connections it had not taken when it ended. They went to other workers.
        calls: How many functions it is running for `Cluster.call`.
        loop_delay: How late its event loop was in the last sample, in seconds.
        busy: The share of time that its event loop did not wait for I/O, smoothed: 0.0 to 1.0. A blocked loop is busy.
            None if it is unknown: before the first sample, and for loops other than asyncio's and uvloop's.
        memory: Bytes of resident memory in the last sample; 0 before the first.
        tasks: How many asyncio tasks it had in the last sample.
        age: Seconds since it came online; 0 before that.
        messages: How many messages it has sent, to other workers and to the primary.
        slow: How often its event loop was blocked for longer than the setting ``slow_loop``.
        last_slow: The last time; None: there was none.
    """

    id: int
    slot: int | None
    pid: int
    name: str | None
    state: str
    connections: int
    accepted: int
    returned: int
    redispatched: int
    calls: int
    loop_delay: float
    busy: float | None
    memory: int
    tasks: int
    age: float
    messages: int
    slow: int = 0
    last_slow: SlowLoop | None = None


@dataclass(frozen=True, slots=True)
class PortStats:
    """One shared port.

    Attributes:
        address: The address it is bound to.
        scheduling: The name of its policy.
        accepted: How many connections the primary has accepted on it.
        waiting: How many of these connections no worker has taken yet.
    """

    address: Address
    scheduling: str
    accepted: int
    waiting: int


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """The numbers of a cluster at one moment.

    Attributes:
        workers: One entry for each worker and agent.
        ports: One entry for each shared port.
        restarts: How many workers have been replaced because they ended unexpectedly.
        bounds: The least and the most workers that the cluster runs; twice the same number if it is fixed.
    """

    workers: tuple[WorkerStats, ...]
    ports: tuple[PortStats, ...]
    restarts: int
    bounds: tuple[int, int]

    @property
    def listeners(self) -> tuple[PortStats, ...]:
        """Another name for ``ports``."""
        return self.ports
