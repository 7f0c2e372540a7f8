"""The end of an error's text about a name that there is not."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """The right name that is nearest; all of them if none is near."""
    from difflib import get_close_matches  # only where something is wrong: a worker starts faster without it

    if near := get_close_matches(str(name), names := sorted(names), n=1):
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(names)}"
