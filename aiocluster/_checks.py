"""Checks of numbers that a caller gave. Pure.

All options use these checks, so that all refuse the same: a bool, text, nan, and a number out of range.
"""

from __future__ import annotations

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


def _is_within(value: float, at_least: float | None, above: float | None) -> bool:
    # nan is not equal to itself.
    return value == value and (at_least is None or value >= at_least) and (above is None or value > above)


def _text(name: str, value: object, what: str, at_least: float | None, above: float | None) -> str:
    if at_least is not None:
        what += f" from {at_least:g} on"
    if above is not None:
        what += f" above {above:g}"
    return f"{name} must be {what}, not {value!r}"
