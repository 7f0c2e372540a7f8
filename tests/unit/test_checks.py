"""The checks of arguments."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocluster._checks import arguments, function, number, whole_number

INFINITY, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, 10**400])
def test_a_number_within_the_range_is_returned(value: float) -> None:
    assert number("wait", value, at_least=0) is value


@pytest.mark.parametrize("value", [True, False, "1", b"1", None, [1], 1j, Decimal(1)])
def test_what_is_no_number_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError) as caught:
        number("wait", value, at_least=0, unit="seconds")
    assert str(caught.value) == f"wait must be a number of seconds from 0 on, not {value!r}"
    with pytest.raises(TypeError) as caught:
        whole_number("count", value, at_least=1)
    assert str(caught.value) == f"count must be a whole number from 1 on, not {value!r}"


@pytest.mark.parametrize(
    ("value", "limits", "text"),
    [
        (-1, {"at_least": 0}, "wait must be a number from 0 on, not -1"),
        (-0.5, {"at_least": 0}, "wait must be a number from 0 on, not -0.5"),
        (0, {"above": 0}, "wait must be a number above 0, not 0"),
        (0.5, {"above": 0.5}, "wait must be a number above 0.5, not 0.5"),
        (1, {"above": 1, "unit": "bytes"}, "wait must be a number of bytes above 1, not 1"),
        (-INFINITY, {"above": 0, "infinite": True}, "wait must be a number above 0, not -inf"),
        (INFINITY, {}, "wait must be a number, not inf"),
        (-INFINITY, {}, "wait must be a number, not -inf"),
        (NAN, {}, "wait must be a number, not nan"),
        (NAN, {"infinite": True}, "wait must be a number, not nan"),
        (NAN, {"at_least": 0}, "wait must be a number from 0 on, not nan"),
    ],
)
def test_what_is_out_of_range_is_a_value_error(value: float, limits: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        number("wait", value, **limits)
    assert str(caught.value) == text


def test_infinity_where_it_is_allowed() -> None:
    assert number("wait", INFINITY, above=0, infinite=True) == INFINITY
    assert number("wait", -INFINITY, infinite=True) == -INFINITY


@pytest.mark.parametrize("value", [1.0, 1.5, NAN, INFINITY])
def test_a_float_is_no_whole_number(value: float) -> None:
    with pytest.raises(TypeError) as caught:
        whole_number("count", value, unit="bytes")
    assert str(caught.value) == f"count must be a whole number of bytes, not {value!r}"


def test_a_whole_number_out_of_range() -> None:
    with pytest.raises(ValueError) as caught:
        whole_number("count", 0, at_least=1)
    assert str(caught.value) == "count must be a whole number from 1 on, not 0"
    assert whole_number("count", 1, at_least=1) == 1


@given(st.integers(), st.integers())
def test_the_lowest_value_is_allowed_and_what_it_must_exceed_is_not(value: int, bound: int) -> None:
    assert _is_taken(value, at_least=bound) == (value >= bound)
    assert _is_taken(value, above=bound) == (value > bound)


def _is_taken(value: int, **limits: Any) -> bool:
    try:
        number("wait", value, **limits)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("value", ["-l", b"-l", None, 5, {"-l"}, (one for one in "ab")])
def test_arguments_are_a_sequence_and_one_text_is_none(value: object) -> None:
    with pytest.raises(TypeError, match=r"^args must be a sequence of str or paths, not "):
        arguments("args", value)


def test_each_argument_is_text_or_a_path_without_a_null_character() -> None:
    assert arguments("args", ["a", b"b", Path("c")]) == ("a", b"b", Path("c"))
    with pytest.raises(TypeError, match=r"^args must be a sequence of str or paths, not of 5$"):
        arguments("args", ["a", 5])
    for nul in ("a\0", b"a\0"):
        with pytest.raises(ValueError, match=r"^args must not contain a null character"):
            arguments("args", [nul])


def test_a_function_can_be_called() -> None:
    assert function("handler", print) is print
    with pytest.raises(TypeError, match=r"^handler must be a function, not 5$"):
        function("handler", 5)
