"""What a measurement is: contenders, and the comparisons drawn between them.

Every ``p<number>_<name>.py`` declares one ``MEASUREMENT`` out of these classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Sample:
    """One contender's figure in one round, and what went wrong while it was taken."""

    value: float
    """In the measurement's unit: per second, or seconds."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """How many of each kind; empty when all went well."""


@dataclass(frozen=True)
class Contender:
    """One side of a measurement."""

    name: str
    sample: Callable[[], Sample]
    needs: tuple[str, ...] = ()
    """The programs without which this contender is skipped, such as ``node``."""


@dataclass(frozen=True)
class Goal:
    """What a ratio is meant to be."""

    relation: Literal["≥", "≤"]
    bound: float

    def met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.relation == "≥" else ratio <= self.bound

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}"


def at_least(bound: float) -> Goal:
    return Goal("≥", bound)


def at_most(bound: float) -> Goal:
    return Goal("≤", bound)


@dataclass(frozen=True)
class Comparison:
    """One contender's figure divided by another's."""

    subject: str
    against: str
    goal: Goal | None = None
    """None: shown for orientation, nothing is promised."""


@dataclass(frozen=True)
class Measurement:
    """Contenders that do the same work, and who is compared with whom."""

    name: str
    """As in the table of goals, if it stands there: ``P1``."""
    title: str
    unit: str
    """``s`` for durations and ``B`` for memory (less is better), otherwise what is counted per second."""
    contenders: tuple[Contender, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def less_is_better(self) -> bool:
        return self.unit in ("s", "B")
