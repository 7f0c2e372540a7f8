"""Health checks: which workers are hung, or due for replacement because they reached a limit. Sans-I/O."""

from __future__ import annotations

from dataclasses import dataclass

from .._checks import number
from .given import REPORTS_PER_HANG


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits at which a worker is replaced; None: no limit.

    For each worker, the last two are lowered by a random share of up to a tenth, so that workers of the same age do not
    all leave at once.

    Attributes:
        hang_timeout: Seconds without a report from its event loop. One that was started to report less often than
            `REPORTS_PER_HANG` times in that is given the time of so many reports.
        max_memory: Bytes of resident memory.
        max_lifetime: Seconds since it came online.
        max_connections: Connections taken from shared ports.

    Raises:
        ValueError: A limit is not above 0; the text names it.
        TypeError: A limit is not a number; the text names it.
    """

    hang_timeout: float | None = None
    max_memory: int | None = None
    max_lifetime: float | None = None
    max_connections: int | None = None

    def __post_init__(self) -> None:
        for name in ("hang_timeout", "max_memory", "max_lifetime", "max_connections"):
            if (value := getattr(self, name)) is not None:
                number(name, value, above=0, infinite=True)

    @property
    def are_set(self) -> bool:
        """Whether there is any limit."""
        return self != Limits()


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker's numbers at one moment.

    Attributes:
        silence: Seconds since its event loop last reported; None if no loop is running.
        heartbeat: Seconds between two of its reports.
        age: Seconds since it came online.
        memory: Bytes of resident memory.
        connections: Connections it has taken from shared ports so far.
    """

    silence: float | None
    heartbeat: float
    age: float
    memory: int
    connections: int


@dataclass(slots=True)
class HealthCheck:
    """Compares samples of one worker with the limits.

    Args:
        limits: The cluster's.
        chance: A random number from 0 to 1. At 1, ``max_lifetime`` and ``max_connections`` are a tenth lower.
    """

    limits: Limits
    chance: float

    def is_hung(self, sample: Sample) -> bool:
        """Whether its event loop is blocked."""
        limit = self.limits.hang_timeout
        if limit is None or sample.silence is None:
            return False
        return sample.silence > max(limit, REPORTS_PER_HANG * sample.heartbeat)

    def why_due(self, sample: Sample) -> str | None:
        """Returns why the worker should be replaced gracefully; None if it should not."""
        limits, share = self.limits, 1.0 - 0.1 * self.chance
        if limits.max_memory is not None and sample.memory > limits.max_memory:
            return f"it has {_size(sample.memory)} of memory, more than max_memory ({_size(limits.max_memory)})"
        if limits.max_lifetime is not None and sample.age > limits.max_lifetime * share:
            return f"it has lived for {sample.age:.0f} s (max_lifetime {limits.max_lifetime:g})"
        if limits.max_connections is not None and sample.connections >= limits.max_connections * share:
            return f"it has served {sample.connections} connections (max_connections {limits.max_connections})"
        return None


def _size(number: int) -> str:
    return f"{number / 2**20:.1f} MiB"
