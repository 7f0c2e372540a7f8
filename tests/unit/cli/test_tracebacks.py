"""Tracebacks in a program's output: found whole, and shown once."""

from __future__ import annotations

import io
import traceback

import pytest

from aiocluster._cli.output.tracebacks import Tracebacks, settled


def raised(number: int = 0) -> bytes:
    try:
        raise ValueError(f"number {number}")
    except ValueError:
        return traceback.format_exc().encode()


def chained() -> bytes:
    try:
        try:
            raise KeyError("the first")
        except KeyError as error:
            raise ValueError("the second") from error
    except ValueError:
        return traceback.format_exc().encode()


def grouped() -> bytes:
    try:
        raise ExceptionGroup("both", [ValueError(1), TypeError(2)])
    except ExceptionGroup:
        return traceback.format_exc().encode()


def in_several_lines() -> bytes:
    file = io.StringIO()
    traceback.print_exception(ValueError("2 errors\n  name: missing\n  age: missing"), file=file)
    return b"Traceback (most recent call last):\n" + file.getvalue().encode()


ALL = pytest.mark.parametrize("text", [raised(), chained(), grouped(), in_several_lines()])


@ALL
def test_it_is_shown_once(text: bytes) -> None:
    seen = Tracebacks()
    assert seen.once(b"before\n" + text + b"after\n") == b"before\n" + text + b"after\n"
    for count in (2, 3):
        first, line, last = seen.once(b"before\n" + text + b"after\n").splitlines()
        assert (first, last) == (b"before", b"after")
        assert line.decode().endswith(f": the same again ({count} ×)")


def test_the_line_has_the_exception() -> None:
    seen = Tracebacks()
    seen.once(chained())
    assert seen.once(chained()).decode() == "ValueError: the second: the same again (2 ×)\n"


def test_another_one_is_shown() -> None:
    seen = Tracebacks()
    assert seen.once(raised(1)) == raised(1)
    assert seen.once(raised(2)) == raised(2)


def test_colours_and_addresses_make_no_difference() -> None:
    seen = Tracebacks()
    plain = b'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nValueError: <C at 0x7f01>\n'
    seen.once(plain)
    coloured = plain.replace(b"ValueError", b"\x1b[1;35mValueError\x1b[0m").replace(b"7f01", b"7f02")
    assert b"the same again" in seen.once(coloured)


@ALL
def test_it_is_waited_for_until_something_else_follows(text: bytes) -> None:
    lines = text.splitlines(keepends=True)
    for number in range(1, len(lines) + 1):
        assert settled(b"before\n" + b"".join(lines[:number]))[0] == len(b"before\n")
    assert settled(b"before\n" + text) == (len(b"before\n"), True)
    assert settled(b"before\n" + text + b"after\n") == (len(b"before\n" + text + b"after\n"), True)


def test_the_beginning_of_one_is_not_whole() -> None:
    head, frame, *_ = raised().splitlines(keepends=True)
    assert settled(head) == settled(head + frame) == (0, False)
    assert settled(chained().partition(b"ValueError")[0]) == (0, False)


def test_a_log_has_written_something_in_front_of_it() -> None:
    seen = Tracebacks()
    assert settled(b"ERROR:    " + raised()) == (0, True)
    seen.once(b"ERROR:    " + raised())
    before, after = b"12:00:01 [7] \x1b[31mERROR\x1b[0m:    ", b"\nERROR:    Exiting.\n"
    shown = seen.once(b"INFO: starting\n" + before + raised() + after)
    assert shown == b"INFO: starting\n" + before + b"ValueError: number 0: the same again (2 \xc3\x97)\n" + after
    assert seen.once(raised()).endswith(b"(3 \xc3\x97)\n")


def test_after_a_change_each_is_shown_once_more() -> None:
    seen = Tracebacks()
    assert seen.once(raised()) == raised()
    seen.forget()
    assert seen.once(raised()) == raised()
    assert seen.once(raised()) != raised()


def test_two_at_once() -> None:
    both = raised(1) + raised(2)
    assert settled(both) == (len(raised(1)), True)
    assert Tracebacks().split(both) == [(True, raised(1)), (True, raised(2))]


def test_what_is_remembered_is_bounded() -> None:
    seen = Tracebacks()
    for number in range(3000):
        seen.once(b"Traceback (most recent call last):\nValueError: %d\n" % number)
    assert len(seen._counts) == 1000
