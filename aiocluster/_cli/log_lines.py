"""Pure: the lines of a log as data, whether they were written as text or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_OWN = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) (?:(debug|warning|error): )?(.*)", re.DOTALL)
_OF_A_WORKER = re.compile(r"([^\s|]+) \| (.*)", re.DOTALL)
_FAILURE = re.compile(r"aiocluster: (?:(warning): )?(.*)", re.DOTALL)
_OF_THE_KEEPER = re.compile(r"--- (?:(\d{4}-\d\d-\d\dT\S+) )?(.*)", re.DOTALL)


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yields whole lines of what comes in pieces, and what is left at the end."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def parsed(line: bytes) -> dict[str, Any]:
    """Returns what a line of a log tells.

    Returns:
        ``time`` (ISO 8601; of a text log local and without a zone), ``level``, ``stream`` (``"log"``: the cluster's own
        words; ``"stdout"`` or ``"stderr"`` of a worker; ``"output"``: one of these two, which a text log does not tell
        apart), ``slot`` and ``text``; each None where the log does not tell it. An agent's line has ``agent``, that of
        a fork server ``template``, and one of a log in JSON all that stands there.
    """
    text = line.decode(errors="backslashreplace").rstrip("\r\n")
    if text.startswith("\x1b["):  # written with FORCE_COLOR
        text = _COLOUR.sub("", text)
    if (found := _of_json(text)) is not None:
        return found
    if match := _OF_THE_KEEPER.fullmatch(text):
        return _told(match[2], time=match[1], level="info", stream="log")
    if match := _OWN.fullmatch(text):
        return _told(match[4], time=f"{match[1]}T{match[2]}", level=match[3] or "info", stream="log")
    if match := _FAILURE.fullmatch(text):
        return _told(match[2], level=match[1] or "critical", stream="log")
    if match := _OF_A_WORKER.fullmatch(text):
        place = match[1]
        if place.isdecimal():
            return _told(match[2], stream="output", slot=int(place))
        return {**_told(match[2], stream="output"), **({"template": True} if place == "template" else {"agent": place})}
    return _told(text)


def _told(
    text: str, *, time: str | None = None, level: str | None = None, stream: str | None = None, slot: int | None = None
) -> dict[str, Any]:
    return {"time": time, "level": level, "stream": stream, "slot": slot, "text": text}


def _of_json(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if not isinstance(found.get("message"), str) or not isinstance(found.get("logger"), str):
        return None  # a worker's own
    logger = found["logger"]
    told = _told(found.pop("message"), stream=logger if logger in ("stdout", "stderr") else "log")
    return {**told, **found}
