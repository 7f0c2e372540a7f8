"""A module whose names only its import shows."""

from typing import Any


def __getattr__(name: str) -> Any:
    raise AttributeError(name)
