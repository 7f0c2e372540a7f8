"""How a process ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """By exit code or by signal, one of which is None; both are if nobody knows."""

    code: int | None
    signal: signal.Signals | None

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        return f"signal {getattr(self.signal, 'name', self.signal)}"


def process_end(code: int) -> ProcessEnd:
    """From what `subprocess` calls a return code: an exit code, or a negative signal number."""
    return ProcessEnd(code, None) if code >= 0 else ProcessEnd(None, _signal(-code))


def _signal(number: int) -> signal.Signals:
    try:
        return signal.Signals(number)
    except ValueError:  # one of Linux's real-time signals, which have no names
        return number  # type: ignore[return-value]
