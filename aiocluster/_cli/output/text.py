"""The log and the workers' output as a person reads them: ``2 | text``."""

from __future__ import annotations

import logging
import os
import re
import time

from ..._primary.relay import Origin
from .colour import BOLD, DIM, PLACES, RED, YELLOW, painted
from .losses import Losses
from .tracebacks import Tracebacks, settled

_LINE = re.compile(rb"(\r\n|\n|\r(?!\n))(?=.)", re.DOTALL)
_LEVELS = {
    logging.DEBUG: ("debug: ", DIM),
    logging.WARNING: ("warning: ", YELLOW),
    logging.ERROR: ("error: ", RED),
    logging.CRITICAL: ("error: ", RED),
}
_PLAIN = "aiocluster"  # loggers below it are not named


class Text(Losses):
    """What is written to one descriptor, as text; a `Presentation` of a relay.

    Args:
        stream: ``"stdout"`` or ``"stderr"``.
        tracebacks: Those that have been shown.
        is_terminal: Whether it is a terminal: the date is left out.
        is_coloured: Whether to write in colour.
    """

    is_by_line = False

    def __init__(self, stream: str, tracebacks: Tracebacks, *, is_terminal: bool, is_coloured: bool) -> None:
        super().__init__(stream)
        self._tracebacks = tracebacks
        self._time = "%H:%M:%S" if is_terminal else "%Y-%m-%d %H:%M:%S"
        self._is_coloured = is_coloured
        self._prefixes: dict[int | str | None, bytes] = {}
        self._unfinished: Origin | None = None  # whose line has no end yet

    # ---- workers

    def indent(self, origin: Origin) -> int:
        """See `Presentation`."""
        return len(_name(origin)) + len(" | ")

    def settled(self, lines: bytes) -> tuple[int, bool]:
        """See `Presentation`."""
        return settled(lines)

    def show(self, origin: Origin, data: bytes) -> bytes:
        """Returns these bytes, with the slot in front of each line."""
        data = self._tracebacks.once(data)
        prefix = self._prefix(origin)
        begins = b""
        if self._unfinished is not origin:
            begins = (b"\n" if self._unfinished is not None else b"") + prefix
        self._unfinished = None if data.endswith((b"\n", b"\r")) else origin
        if b"\r" in data:
            return begins + _LINE.sub(lambda found: found[1] + prefix, data)
        return begins + data[:-1].replace(b"\n", b"\n" + prefix) + data[-1:]

    def _prefix(self, origin: Origin) -> bytes:
        prefix = self._prefixes.get(origin.place)
        if prefix is None:
            place = origin.place
            colour = b""
            if self._is_coloured:
                number = place if isinstance(place, int) else sum(_name(origin).encode())
                colour = PLACES[number % len(PLACES)]
            prefix = self._prefixes[place] = painted(_name(origin).encode() + b" |", colour) + b" "
        return prefix

    def forget(self) -> None:
        """See `Presentation`."""
        self._tracebacks.forget()

    # ---- the log

    def say(self, line: bytes) -> bytes:
        """See `Presentation`."""
        begins = b"\n" if self._unfinished is not None else b""
        self._unfinished = None
        return begins + line

    def missing(self, lines: int) -> bytes:
        """See `Presentation`."""
        return self.say(b"aiocluster: %d lines of the log are missing here: there was no room for them\n" % lines)

    def record(self, record: logging.LogRecord) -> bytes:
        """Returns a log record as a line, or as several."""
        clock = time.strftime(self._time, time.localtime(record.created))
        level, colour = _LEVELS.get(record.levelno, ("", b""))
        name = "" if record.name.split(".")[0] == _PLAIN else f"{record.name}: "
        head, *rest = whole_text(record).split("\n")
        if getattr(record, "event", None) == "up":
            head, colour = _encoded(head).decode(errors="surrogateescape"), BOLD
            rest = [" " * (len(clock) + 1) + line for line in rest]
        first = _encoded(f"{level}{name}{head}")
        if self._is_coloured:
            first = painted(_encoded(level), colour) + _encoded(f"{name}{head}") if level else painted(first, colour)
        begin = painted(clock.encode(), DIM if self._is_coloured else b"")
        if record.process not in (os.getpid(), None):  # a worker's; see `aiocluster.logs`
            begin += b" " + self._prefix(Origin(_place(record))).rstrip()
        more = _encoded("".join(f"{line}\n" for line in rest))
        return begin + b" " + first + b"\n" + self._tracebacks.once(more)

    def failure(self, text: str) -> bytes:
        """Returns why the command has failed."""
        first, end, rest = text.partition("\n")
        begin = painted(b"aiocluster:", RED if self._is_coloured else b"")
        more = self._tracebacks.once(_encoded(rest + "\n")) if end else b""
        return begin + b" " + _encoded(first) + b"\n" + more


def whole_text(record: logging.LogRecord) -> str:
    """Returns a record's message, with the traceback if it has one."""
    text = record.getMessage()
    if record.exc_info and record.exc_info[0] is not None:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    elif record.exc_text:  # of a worker's record
        text += "\n" + record.exc_text
    if record.stack_info:
        text += "\n" + record.stack_info
    return text


def _place(record: logging.LogRecord) -> int | str | None:
    """Returns the slot or the agent's name in a record that a worker has sent."""
    slot, agent = vars(record).get("slot"), vars(record).get("agent")
    return agent if slot is None else slot


def _name(origin: Origin) -> str:
    return "template" if origin.place is None else str(origin.place)


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
