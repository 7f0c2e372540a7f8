"""Checks of arguments that a caller gave. Pure.

All options use these checks, so that all refuse the same: a bool, text or nan for a number, a number out of range, one
text for a list of texts, and anything but a function for a handler.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

_INFINITY = float("inf")


def number(
    name: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    unit: str = "",
    infinite: bool = False,
) -> float:
    """Returns ``value`` if it is an int or a float within the range.

    Args:
        name: The argument's name. The error's text begins with it.
        value: The value that was given.
        at_least: The lowest allowed value; None for no limit.
        above: A number that the value must exceed; None for no limit.
        unit: The unit, such as ``"seconds"``, for the error's text.
        infinite: Whether infinity is allowed.

    Raises:
        TypeError: It is not a number. A bool is not one either.
        ValueError: It is nan, out of the range, or infinite where that is not allowed.
    """
    what = f"a number of {unit}" if unit else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(_text(name, value, what, at_least, above))
    if not _is_within(value, at_least, above) or (abs(value) == _INFINITY and not infinite):
        raise ValueError(_text(name, value, what, at_least, above))
    return value


def whole_number(name: str, value: object, *, at_least: int | None = None, unit: str = "") -> int:
    """Returns ``value`` if it is an int within the range. The arguments are those of `number`.

    Raises:
        TypeError: It is not an int. A bool is not one either.
        ValueError: It is out of the range.
    """
    what = f"a whole number of {unit}" if unit else "a whole number"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(_text(name, value, what, at_least, None))
    if not _is_within(value, at_least, None):
        raise ValueError(_text(name, value, what, at_least, None))
    return value


def low_and_high(name: str, value: object) -> int | tuple[int, int]:
    """Returns ``value`` if it is a whole number from 1 on, or two of them, the lower first.

    Raises:
        TypeError: It is neither.
        ValueError: A number is below 1, or the lower one comes second.
    """
    if isinstance(value, (int, str, bytes)) or not isinstance(value, Sequence):
        return whole_number(name, value, at_least=1)
    if len(value) != 2:
        raise TypeError(f"{name} must be a whole number, or two: (low, high), not {value!r}")
    low = whole_number(f"{name}[0]", value[0], at_least=1)
    high = whole_number(f"{name}[1]", value[1], at_least=1)
    if low > high:
        raise ValueError(f"{name} must be (low, high), the lower number first, not {value!r}")
    return low, high


def sequence(name: str, value: object, kinds: tuple[type, ...], what: str) -> tuple[Any, ...]:
    """Returns the items of ``value`` if it is a sequence of these types. One text is not a sequence of texts.

    Args:
        name: The argument's name. The error's text begins with it.
        value: The value that was given.
        kinds: The allowed types of an item.
        what: What the items are, for the error's text.

    Raises:
        TypeError: It is not such a sequence.
        ValueError: An item is text with a null character, where it would end for the system.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a sequence of {what}, not {value!r}")
    for one in value:
        if not isinstance(one, kinds):
            raise TypeError(f"{name} must be a sequence of {what}, not of {one!r}")
        without_nul(name, one)
    return tuple(value)


def arguments(name: str, value: object) -> tuple[Any, ...]:
    """Returns the items of ``value`` if it is a sequence of texts or paths, as `sequence` does."""
    return sequence(name, value, (str, bytes, os.PathLike), "str or paths")


def without_nul(name: str, value: object) -> None:
    """Raises ValueError if this is text or bytes with a null character, which ends a text for the system."""
    if (isinstance(value, str) and "\0" in value) or (isinstance(value, bytes) and b"\0" in value):
        raise ValueError(f"{name} must not contain a null character: {value!r}")


def function(name: str, value: Any) -> Any:
    """Returns ``value`` if it can be called.

    Raises:
        TypeError: It can't.
    """
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {value!r}")
    return value


def _is_within(value: float, at_least: float | None, above: float | None) -> bool:
    # nan is not equal to itself.
    return value == value and (at_least is None or value >= at_least) and (above is None or value > above)


def _text(name: str, value: object, what: str, at_least: float | None, above: float | None) -> str:
    if at_least is not None:
        what += f" from {at_least:g} on"
    if above is not None:
        what += f" above {above:g}"
    return f"{name} must be {what}, not {value!r}"
