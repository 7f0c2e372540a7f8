"""What a load showed: how long the middle, the slow and the slowest waited, and who did the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .measurement import Sample
from .programs import ProgramFailed
from .uneven_client import Answer
from .uneven_work import Done, percentile

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
FIGURE = "p99"
"""The one that a sample's value is."""
FURTHER = ("p50", "p90")
"""The others."""
TRIES = 3
"""How often a run is taken, in all, if the client is late in it."""

LATE = 0.005
"""How late the client may send the 99th of a hundred requests, in seconds: later, and the figure would be its own."""


class ClientLate(ProgramFailed):
    """The client did not keep to its plan, so the run says nothing about the server."""


@dataclass(frozen=True)
class Tail:
    """One run."""

    seconds: Mapping[str, float]
    """By percentile."""
    shares: Sequence[int] = ()
    """How many requests, or connections that stay, each worker had, most first; empty where nobody was asked."""
    errors: Mapping[str, int] = field(default_factory=dict)
    late: float = 0.0
    """How late the client sent the 99th of a hundred, in seconds."""

    @property
    def sample(self) -> Sample:
        """
        Raises:
            ClientLate: By more than LATE.
        """
        if self.late > LATE:
            raise ClientLate(
                f"the client was {1000 * self.late:.1f} ms late, more than {1000 * LATE:g} ms: a busy machine"
            )
        further = {name: seconds for name, seconds in self.seconds.items() if name != FIGURE}
        return Sample(self.seconds[FIGURE], self.errors, further, self.shares)

    def beside(self, ideal: Tail) -> list[float]:
        """The ratio of each percentile."""
        return [self.seconds[name] / ideal.seconds[name] for name in PERCENTILES]

    def __str__(self) -> str:
        """One line: the percentiles, and what else there is to say; ``!`` where the client was too late."""
        parts = ["  ".join(f"{name} {1000 * self.seconds[name]:6.1f}" for name in PERCENTILES) + " ms"]
        if self.shares:
            parts.append("/".join(map(str, self.shares)))
        if self.late:
            parts.append(f"client late {1000 * self.late:.1f} ms" + ("!" if self.late > LATE else ""))
        if self.errors:
            parts.append(f"errors: {dict(self.errors)}")
        return "  ".join(parts)


def punctual(run: Callable[[], Sample]) -> Sample:
    """One run; taken again if the client was late in it.

    Raises:
        ProgramFailed: It broke, or the client was late in each.
    """
    for _ in range(TRIES - 1):
        with suppress(ClientLate):
            return run()
    return run()


def of_ideal(done: Sequence[Done], warm_up: float) -> Tail:
    """What was computed."""
    return Tail(_percentiles([each.latency for each in done if each.at >= warm_up]))


def of_requests(report: Mapping[str, Any], warm_up: float, workers: int) -> Tail:
    """What the client reports, where each request has a connection of its own.

    Raises:
        ProgramFailed: Nothing was answered.
    """
    answers = _answers(report, warm_up)
    return _tail(report, answers, Counter(answer.pid for answer in answers), workers)


def of_connections(report: Mapping[str, Any], warm_up: float, workers: int) -> Tail:
    """What the client reports, where connections stay: `shares` counts these.

    Where one connection's requests are answered by several workers, as behind nginx, there are no shares.

    Raises:
        ProgramFailed: Nothing was answered.
    """
    answers = _answers(report, warm_up)
    whose = {(answer.connection, answer.pid) for answer in answers}
    fixed = len(whose) == len({connection for connection, _ in whose})
    return _tail(report, answers, Counter(pid for _, pid in whose) if fixed else None, workers)


def _answers(report: Mapping[str, Any], warm_up: float) -> list[Answer]:
    answers = [Answer(*fields) for fields in report["answers"]]
    counted = [answer for answer in answers if answer.at >= warm_up]
    if not counted:
        raise ProgramFailed(f"not one request was answered; errors: {report['errors'] or 'none'}")
    return counted


def _tail(report: Mapping[str, Any], answers: Sequence[Answer], had: Counter[int] | None, workers: int) -> Tail:
    return Tail(
        _percentiles([answer.latency for answer in answers]),
        () if had is None else sorted([*had.values(), *[0] * (workers - len(had))], reverse=True),
        report["errors"],
        percentile([answer.late for answer in answers], 0.99),
    )


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {name: percentile(seconds, share) for name, share in PERCENTILES.items()}
