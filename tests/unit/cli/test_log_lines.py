"""The lines of a log as data."""

from __future__ import annotations

import json
import logging
import re

import pytest

from aiocluster._cli.log_lines import lines, parsed
from aiocluster._cli.output.json_lines import Json
from aiocluster._cli.output.text import Text
from aiocluster._cli.output.tracebacks import Tracebacks
from aiocluster._primary.relay import Origin

TEXT = Text("stdout", Tracebacks(), is_terminal=False, is_coloured=False)
COLOURED = Text("stdout", Tracebacks(), is_terminal=False, is_coloured=True)
JSON = Json("stdout", Tracebacks())
RECORD = logging.makeLogRecord(
    {"name": "aiocluster.cluster", "levelno": logging.WARNING, "levelname": "WARNING", "msg": "it is late"}
)


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (Origin(3, 4711), {"slot": 3}),
        (Origin("cron", 4711), {"slot": None, "agent": "cron"}),
        (Origin(None, 4711), {"slot": None, "template": True}),
    ],
)
def test_of_a_worker(origin: Origin, told: dict[str, object]) -> None:
    usual = {"level": None, "time": None, "slot": None, "text": "a | b"}
    for form in (TEXT, COLOURED):
        assert parsed(form.show(origin, b"a | b\n")) == {**usual, "stream": "output", **told}
    found = parsed(JSON.show(origin, b"a | b\n"))
    assert found.items() >= {**usual, "stream": "stdout", "level": "info", "time": found["time"], **told}.items()
    assert found["pid"] == 4711


def test_of_the_cluster() -> None:
    for form in (TEXT, COLOURED, JSON):
        found = parsed(form.record(RECORD))
        assert (found["level"], found["stream"], found["slot"], found["text"]) == ("warning", "log", None, "it is late")
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", found["time"])
        found = parsed(form.failure("no room"))
        assert (found["level"], found["stream"], found["text"]) == ("critical", "log", "no room")
    found = parsed(b"--- 2026-11-28T01:41:09.357+00:00 shop starts: pid 1\n")
    assert (found["time"], found["text"]) == ("2026-11-28T01:41:09.357+00:00", "shop starts: pid 1")


@pytest.mark.parametrize("line", [b"    more of it", b'{"a": 1}', b"{", b"[]", b"\xff", b"", b"{}"])
def test_nothing_is_known(line: bytes) -> None:
    found = parsed(line)
    assert found.pop("text") == line.decode(errors="backslashreplace")
    assert set(found.values()) == {None}
    json.dumps(found)


def test_lines_that_come_in_pieces() -> None:
    assert list(lines([b"one\nt", b"w", b"o\n", b"\nrest"])) == [b"one", b"two", b"", b"rest"]
