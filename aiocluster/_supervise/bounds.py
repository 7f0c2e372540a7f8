"""`Bounds`: between which numbers of workers the load decides. Pure."""

from __future__ import annotations

from typing import NamedTuple, Self


class Bounds(NamedTuple):
    """The least and the most workers. A fixed number is both."""

    low: int
    high: int

    @classmethod
    def of(cls, workers: int | tuple[int, int]) -> Self:
        """Returns the bounds that this number, or this pair, asks for."""
        low, high = (workers, workers) if isinstance(workers, int) else workers
        return cls(low, high)

    @property
    def are_apart(self) -> bool:
        """Whether there is anything to decide."""
        return self.low < self.high

    def moved(self, by: int) -> Bounds:
        """Returns both moved by so many, but not below 1."""
        return Bounds(max(1, self.low + by), max(1, self.high + by))

    def nearest(self, workers: int) -> int:
        """Returns the number within these bounds that is nearest to this one."""
        return max(self.low, min(self.high, workers))
