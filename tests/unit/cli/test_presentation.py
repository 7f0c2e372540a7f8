"""How lines look that workers and the command write."""

from __future__ import annotations

import errno
import json
import logging
import os

import pytest

from aiocluster import StartupError
from aiocluster._cli.output.colour import has_colour
from aiocluster._cli.output.failure import in_one_line
from aiocluster._cli.output.json_lines import Json
from aiocluster._cli.output.text import Text
from aiocluster._cli.output.tracebacks import Tracebacks
from aiocluster._primary.relay import Origin

ONE, TWO, AGENT = Origin(1, 11), Origin(2, 12), Origin("cron", 13)


def text(*, is_coloured: bool = False) -> Text:
    return Text("stderr", Tracebacks(), is_terminal=False, is_coloured=is_coloured)


def test_the_slot_stands_in_front_of_each_line() -> None:
    shown = text()
    assert shown.show(ONE, b"a\nb\n\n") == b"1 | a\n1 | b\n1 | \n"
    assert shown.show(AGENT, b"a\r\nb\r\n") == b"cron | a\r\ncron | b\r\n"
    assert shown.show(TWO, b"10%\r20%\r") == b"2 | 10%\r2 | 20%\r"
    assert shown.show(Origin(None), b"a\n") == b"template | a\n"
    assert shown.show(ONE, bytes(range(14, 256)) + b"\n") == b"1 | " + bytes(range(14, 256)) + b"\n"


def test_nothing_is_written_behind_an_unfinished_line_of_another_one() -> None:
    shown = text()
    assert shown.show(ONE, b"begun") == b"1 | begun"
    assert shown.show(ONE, b", ended\nbegun") == b", ended\n1 | begun"
    assert shown.show(TWO, b"a\n") == b"\n2 | a\n"
    assert shown.show(ONE, b"begun") == b"1 | begun"
    assert shown.say(b"our own\n") == b"\nour own\n"
    assert shown.show(ONE, b"a\n") == b"1 | a\n"


def test_each_slot_has_its_colour() -> None:
    shown = text(is_coloured=True)
    one, two = shown.show(ONE, b"a\n"), shown.show(TWO, b"a\n")
    assert one.endswith(b"1 |\x1b[0m a\n")
    assert one[:5] != two[:5]


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("aiocluster.cluster", logging.INFO, b"said"),
        ("aiocluster.cluster", logging.WARNING, b"warning: said"),
        ("asyncio", logging.ERROR, b"error: asyncio: said"),
    ],
)
def test_a_record_says_only_what_matters(name: str, level: int, expected: bytes) -> None:
    record = logging.makeLogRecord({"name": name, "levelno": level, "msg": "said"})
    date, time, rest = text().record(record).split(b" ", 2)
    assert (len(date), len(time), rest) == (10, 8, expected + b"\n")


def test_json_has_an_object_for_each_line_and_each_traceback() -> None:
    shown = Json("stdout", Tracebacks())
    traceback = b"Traceback (most recent call last):\n  File\nValueError: x\n"
    lines = shown.show(AGENT, b"\xff\x00\r\n" + traceback + traceback + b"10%\r20%\r").splitlines()
    found = [json.loads(line) for line in lines]
    assert [one["message"] for one in found] == [
        "\\xff\x00",
        traceback.decode().rstrip(),
        "ValueError: x: the same again (2 ×)",
        "10%",
        "20%",
    ]
    assert {(one["agent"], one["pid"], one["logger"], one["level"]) for one in found} == {
        ("cron", 13, "stdout", "info")
    }


def test_json_has_the_fields_of_a_record() -> None:
    record = logging.makeLogRecord({"name": "aiocluster.command", "levelno": logging.ERROR, "msg": "a\nb", "slot": 2})
    found = json.loads(Json("stderr", Tracebacks()).record(record))
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "error",
        "logger": "aiocluster.command",
        "message": "a\nb",
        "pid": os.getpid(),
        "slot": 2,
    }


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
)
def test_colours_of_a_terminal(environ: dict[str, str], expected: bool) -> None:
    ours, theirs = os.openpty()
    try:
        assert has_colour(theirs, environ) is expected
    finally:
        os.close(ours)
        os.close(theirs)


def test_elsewhere_there_is_no_colour_unless_forced() -> None:
    with open(os.devnull) as file:
        assert not has_colour(file.fileno(), {"TERM": "xterm"})
        assert has_colour(file.fileno(), {"FORCE_COLOR": "1"})


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        ((errno.EACCES, "0.0.0.0:1"), "0.0.0.0:1 can't be opened: Permission denied; ports below "),
        ((errno.EACCES, "127.0.0.1:65535"), "127.0.0.1:65535 can't be opened: Permission denied"),
        ((errno.EACCES, "unix:/no/such"), "unix:/no/such can't be opened: Permission denied; the workers' user needs"),
        ((errno.EACCES, None), "the target may not use an address that it binds by itself: Permission denied; see "),
        ((errno.EADDRINUSE, None), "the target binds an address by itself that is in use"),
        ((errno.EADDRINUSE, "unix:/no/such"), "unix:/no/such is in use"),
        (None, "worker 1 can't start"),
    ],
)
def test_why_an_address_is_refused(refused: tuple[int, str | None] | None, expected: str) -> None:
    error = StartupError("worker 1 can't start")
    error._refused = refused
    assert in_one_line(error).startswith(expected)


def test_the_setting_whose_address_is_refused_is_named() -> None:
    error = StartupError("can't listen")
    error._refused, error._setting = (errno.EACCES, "unix:/no/such"), "health"
    expected = (
        "health: unix:/no/such can't be opened: Permission denied; this command's user needs write permission in /no"
    )
    assert in_one_line(error) == expected
