"""A hint for error texts about unknown names."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """Suggests the most similar of the valid names; lists all of them if none is similar."""
    from difflib import get_close_matches  # imported only when there is an error: a worker starts faster without it

    if near := get_close_matches(str(name), names := sorted(names), n=1):
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(names)}"
