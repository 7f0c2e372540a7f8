"""The log of the command."""

from __future__ import annotations

import contextlib
import logging
import os
import select
from typing import Protocol

from ..._primary.relay import Presentation, Relay
from ..._processes.stdio import standard

_PATIENCE = 1000  # milliseconds that stderr may take nothing, after which a line is given up
_PIECE = 4096  # bytes: a pipe that can be written takes so many without a wait


class Format(Presentation, Protocol):
    """How log records look, too."""

    def record(self, record: logging.LogRecord) -> bytes:
        """Returns a log record as a line, or as several."""

    def failure(self, text: str) -> bytes:
        """Returns why the command has failed."""


class Handler(logging.Handler):
    """Writes log records to stderr, by the thread that also writes what workers print there: no loop waits for it.

    What is told as an event is left out, and the traceback of a start that failed for want of an address, unless
    everything is logged.

    Args:
        format: How they look.
        relay: Has the thread.
    """

    def __init__(self, format: Format, relay: Relay) -> None:
        super().__init__()
        self._format = format
        self._relay = relay

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "is_event", False):
            return
        if getattr(record, "is_refused", False) and not logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return
        try:
            self.write(self._format.record(record))
        except Exception:
            self.handleError(record)

    def write(self, line: bytes) -> None:
        """Writes a line, unless stderr takes nothing."""
        if not self._relay.say(line):
            _write_now(self._format.say(line))


def _write_now(data: bytes) -> None:
    """Writes before the thread has begun, or after it has ended."""
    if (fd := standard(2)) is None:
        return
    writable = select.poll()
    writable.register(fd, select.POLLOUT)
    with contextlib.suppress(OSError):
        while data and writable.poll(_PATIENCE):
            data = data[os.write(fd, data[:_PIECE]) :]
