"""What a measurement is: contenders, and the comparisons drawn between them.

Every ``p<number>_<name>.py`` declares one ``MEASUREMENT`` out of these classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from .checkout import HERE, Checkout

BEFORE = "before"
"""How the contenders of another checkout are called, after their name."""


@dataclass(frozen=True)
class Sample:
    """One contender's figure in one round, and what went wrong while it was taken."""

    value: float
    """In the measurement's unit: per second, or seconds."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """How many of each kind; empty when all went well."""
    further: Mapping[str, float] = field(default_factory=dict)
    """The measurement's further figures, by name."""
    shares: Sequence[int] = ()
    """How much of the load each worker had, most first, where that was asked."""
    cpu: Mapping[str, float] = field(default_factory=dict)
    """Seconds of processor time for one operation, by the name of the process or processes that used it."""

    def figure(self, name: str | None) -> float:
        """A further figure; None: the value."""
        return self.value if name is None else self.further[name]


@dataclass(frozen=True)
class Calls:
    """How many functions one operation calls in a process."""

    python: float
    c: float
    functions: Mapping[str, float]
    """The same by function."""


@dataclass(frozen=True)
class Contender:
    """One side of a measurement."""

    name: str
    sample: Callable[[], Sample]
    needs: tuple[str, ...] = ()
    """The programs and packages without which this contender is skipped, such as ``node``."""

    def take(self, round_: int) -> Sample:
        return self.sample()


@dataclass(frozen=True)
class OwnContender:
    """aiocluster's side of a measurement, which can be measured in two checkouts in turn."""

    name: str
    sample: Callable[[Checkout], Sample]
    needs: tuple[str, ...] = ()
    """As above."""
    calls: Callable[[Checkout], Mapping[str, Calls]] | None = None
    """Counts the calls of one operation, by process, in a run of its own; None: that is not counted."""
    checkout: Checkout = HERE

    def take(self, round_: int) -> Sample:
        return self.sample(self.checkout)

    def count(self) -> Mapping[str, Calls]:
        return {} if self.calls is None else self.calls(self.checkout)

    def before(self, checkout: Checkout) -> OwnContender:
        """The same in another checkout."""
        return replace(self, name=f"{self.name}, {BEFORE}", checkout=checkout)


@dataclass(frozen=True)
class SeededContender:
    """One side of a measurement whose chance comes from a seed, the number of the round: the same for all sides."""

    name: str
    sample: Callable[[int], Sample]
    needs: tuple[str, ...] = ()
    """As above."""

    def take(self, round_: int) -> Sample:
        return self.sample(round_)


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
    figure: str | None = None
    """Which of the measurement's further figures; None: the value."""


@dataclass(frozen=True)
class Measurement:
    """Contenders that do the same work, and who is compared with whom."""

    name: str
    """As in the table of goals, if it stands there: ``P1``."""
    title: str
    unit: str
    """``s`` for durations and ``B`` for memory (less is better), otherwise what is counted per second."""
    contenders: tuple[Contender | OwnContender | SeededContender, ...]
    comparisons: tuple[Comparison, ...]
    figure: str = ""
    """What the value is called, where there are further figures."""
    further: tuple[str, ...] = ()
    """Their names; they have the same unit."""
    baseline: str | None = None
    """The contender to which all others are compared, in each figure."""

    def called(self, figure: str | None) -> str:
        """The name of a figure; None: the value's."""
        return self.figure if figure is None else figure

    def beside(self, checkout: Checkout) -> Measurement:
        """The same with aiocluster of another checkout too, each right after its like."""
        contenders: list[Contender | OwnContender | SeededContender] = []
        comparisons = list(self.comparisons)
        for contender in self.contenders:
            contenders.append(contender)
            if isinstance(contender, OwnContender):
                contenders.append(before := contender.before(checkout))
                comparisons.append(Comparison(contender.name, before.name))
        return replace(self, contenders=tuple(contenders), comparisons=tuple(comparisons))

    @property
    def less_is_better(self) -> bool:
        return self.unit in ("s", "B")
