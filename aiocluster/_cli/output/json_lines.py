"""The log and the workers' output as programs read them: one JSON object a line."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..._primary.relay import Origin
from .losses import Losses
from .text import whole_text
from .tracebacks import Tracebacks, settled

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "is_event", "is_refused"}
_encode = json.JSONEncoder(separators=(", ", ": "), default=str).encode


class Json(Losses):
    """What is written to one descriptor, as JSON; a `Presentation` of a relay.

    Args:
        stream: ``"stdout"`` or ``"stderr"``: the logger of what workers write there.
        tracebacks: Those that have been shown.
    """

    is_by_line = True

    def __init__(self, stream: str, tracebacks: Tracebacks) -> None:
        super().__init__(stream)
        self._tracebacks = tracebacks

    # ---- workers

    def indent(self, origin: Origin) -> int:
        """See `Presentation`."""
        return 0

    def settled(self, lines: bytes) -> tuple[int, bool]:
        """See `Presentation`."""
        return settled(lines)

    def show(self, origin: Origin, data: bytes) -> bytes:
        """Returns an object for each line, and for each traceback."""
        # The same for all lines but the message, so it is encoded once.
        head = _encode({"time": _now(), "level": "info", "logger": self._stream})[:-1] + ', "message": '
        tail = ", " + _encode(_whose(origin))[1:] + "\n"
        found: list[str] = []
        for is_traceback, part in self._tracebacks.split(data):
            text = part.decode(errors="backslashreplace").rstrip("\r\n")
            lines = [text] if is_traceback else text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            found += [head + _encode(line) + tail for line in lines]
        return "".join(found).encode()

    def forget(self) -> None:
        """See `Presentation`."""
        self._tracebacks.forget()

    # ---- the log

    def say(self, line: bytes) -> bytes:
        """See `Presentation`."""
        return line

    def missing(self, lines: int) -> bytes:
        """See `Presentation`."""
        return _line(logging.WARNING, "aiocluster.command", "lines are missing here: there was no room", missing=lines)

    def record(self, record: logging.LogRecord) -> bytes:
        """Returns a log record as a line."""
        fields = {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.process not in (os.getpid(), None):  # a worker's; see `aiocluster.logs`
            fields = {"pid": record.process, **{name: value for name, value in fields.items() if value is not None}}
        text = self._tracebacks.once(whole_text(record).encode(errors="backslashreplace") + b"\n")
        return _line(record.levelno, record.name, text.decode().rstrip("\n"), record.created, **fields)

    def failure(self, text: str) -> bytes:
        """Returns why the command has failed."""
        return _line(logging.CRITICAL, "aiocluster.command", text, event="failed")


def _line(level: int, logger: str, message: str, created: float | None = None, **fields: Any) -> bytes:
    time = _now() if created is None else _iso(created)
    head = {"time": time, "level": logging.getLevelName(level).lower(), "logger": logger, "message": message}
    return _encode({**head, "pid": os.getpid(), **fields}).encode() + b"\n"


def _whose(origin: Origin) -> Mapping[str, Any]:
    place, pid = origin.place, origin.pid
    if place is None:
        return {"template": True, "pid": pid}
    return {"slot": place, "pid": pid} if isinstance(place, int) else {"agent": place, "pid": pid}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
