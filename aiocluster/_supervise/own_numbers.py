"""aiocluster's own metric families. Pure: from a cluster's stats to what an autoscaler and an operator look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .._metrics.family import Family, Labels, Sample
from .._metrics.merge import SLOT
from .._primary.life import STATES
from .._primary.ports.waits import Waits
from ..stats import ClusterStats, WorkerStats

REASONS = ("failed", "hung", "killed", "late", "limit", "returned")
"""Why workers that nobody told to leave, and that did not choose to, have ended; see `events.Exit`."""


@dataclass(slots=True)
class Counts:
    """What has been counted in a cluster, also of workers that have ended.

    Attributes:
        taken: How many connections workers have taken that have ended, by place.
        messages: How many messages they have sent, by place.
        undelivered: How many messages have come back to their senders that have ended, or to the primary.
        restarts: How many have ended unexpectedly, by reason.
        reload_seconds: How long the last reload took that succeeded; None: there was none.
    """

    taken: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    undelivered: int = 0
    restarts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    reload_seconds: float | None = None

    def ended(self, worker: WorkerStats, reason: str, undelivered: int) -> None:
        """A worker has ended.

        Args:
            worker: Its last numbers.
            reason: Why, see `events.Exit`.
            undelivered: How many of its messages have come back to it.
        """
        place = place_of(worker)
        self.taken[place] = self.taken.get(place, 0) + worker.accepted
        self.messages[place] = self.messages.get(place, 0) + worker.messages
        self.undelivered += undelivered
        if reason in self.restarts:
            self.restarts[reason] += 1


def place_of(worker: WorkerStats) -> str:
    """The value of the label ``slot``: a worker's slot, or an agent's name."""
    return worker.name or str(worker.slot)


def own_families(
    stats: ClusterStats, counts: Counts, waits: Waits, undelivered: int, ages: Mapping[str, float]
) -> list[Family]:
    """Returns aiocluster's own families.

    Args:
        stats: The current numbers.
        counts: What has been counted.
        waits: How long connections waited.
        undelivered: How many messages have come back to workers that there are.
        ages: By place, how old the report is that the page has of its worker, in seconds.
    """
    workers = stats.workers
    running = [worker for worker in workers if worker.state != "starting"]  # others have said nothing yet
    busy = [(worker, worker.busy) for worker in workers if worker.busy is not None]
    states = dict.fromkeys(STATES[:-1], 0)  # one that is dead is no longer there
    for worker in workers:
        states[worker.state] = states.get(worker.state, 0) + 1
    low, high = stats.bounds
    return [
        _gauge(
            "loop_busy_ratio",
            "Share of time that an event loop did not wait for I/O, smoothed: 0 to 1.",
            _by_slot(((worker, share) for worker, share in busy), max),
        ),
        _waits(waits),
        _gauge("connections", "Open connections from shared ports.", _by_slot(_of(workers, "connections"), _plus)),
        _counter(
            "connections_taken",
            "Connections from shared ports that workers have taken.",
            _by_slot(_of(workers, "accepted"), _plus, counts.taken),
        ),
        _gauge(
            "connections_waiting",
            "Connections that the primary has accepted and no worker has taken yet.",
            [((), float(sum(port.waiting for port in stats.ports)))],
        ),
        _gauge(
            "loop_delay_seconds",
            "How late an event loop was in its last sample.",
            _by_slot(_of(running, "loop_delay"), max),
        ),
        _gauge("memory_bytes", "Resident memory.", _by_slot(_of(running, "memory"), _plus)),
        _gauge("tasks", "asyncio tasks.", _by_slot(_of(running, "tasks"), _plus)),
        _gauge(
            "workers",
            "Workers and agents by state.",
            [((("state", state),), float(count)) for state, count in states.items()],
        ),
        _gauge(
            "workers_wanted",
            "The least and the most workers that the cluster runs.",
            [((("bound", "low"),), float(low)), ((("bound", "high"),), float(high))],
        ),
        _counter(
            "restarts",
            "Workers and agents that have ended unexpectedly, by reason.",
            [((("reason", reason),), float(count)) for reason, count in counts.restarts.items()],
        ),
        _counter(
            "messages",
            "Messages that workers have sent to others.",
            _by_slot(_of(workers, "messages"), _plus, counts.messages),
        ),
        _counter(
            "undelivered",
            "Messages that came back to their sender, because the receiver had ended.",
            [((), float(counts.undelivered + undelivered))],
        ),
        _gauge(
            "reload_seconds",
            "How long the last reload took.",
            [] if counts.reload_seconds is None else [((), counts.reload_seconds)],
        ),
        _gauge(
            "report_age_seconds",
            "How old the numbers are that this page has of a worker. One that is blocked has not answered.",
            [(((SLOT, place),), age) for place, age in ages.items()],
        ),
    ]


_Values = Iterable[tuple[Labels, float]]


def _plus(one: float, other: float) -> float:
    return one + other


def _of(workers: Iterable[WorkerStats], name: str) -> Iterable[tuple[WorkerStats, float]]:
    return ((worker, getattr(worker, name)) for worker in workers)


def _by_slot(
    values: Iterable[tuple[WorkerStats, float]],
    join: Callable[[float, float], float],
    before: Mapping[str, float] | None = None,
) -> _Values:
    """One value for each slot: of two workers that share it, both count."""
    found: dict[str, float] = dict(before or {})
    for worker, value in values:
        place = place_of(worker)
        found[place] = join(found[place], value) if place in found else value
    return [(((SLOT, place),), float(value)) for place, value in found.items()]


def _gauge(name: str, documentation: str, values: _Values) -> Family:
    return _family(name, "gauge", documentation, "", values)


def _counter(name: str, documentation: str, values: _Values) -> Family:
    return _family(name, "counter", documentation, "_total", values)


def _family(name: str, kind: str, documentation: str, suffix: str, values: _Values) -> Family:
    full = f"aiocluster_{name}"
    samples = [Sample(f"{full}{suffix}", labels, value) for labels, value in values]
    return Family(full, kind, documentation, "", None, samples)


def _waits(waits: Waits) -> Family:
    name = "aiocluster_connection_wait_seconds"
    counts = list(waits.cumulated())
    samples = [
        Sample(f"{name}_bucket", (("le", "+Inf" if bound is None else repr(bound)),), float(count))
        for bound, count in counts
    ]
    samples += [Sample(f"{name}_count", (), float(counts[-1][1])), Sample(f"{name}_sum", (), waits.seconds)]
    return Family(name, "histogram", "How long connections waited until a worker took them.", "", None, samples)
