"""How a process ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """By exit code or by signal, one of which is None; both are if nobody knows."""

    code: int | None
    signal: signal.Signals | None

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        return f"signal {getattr(self.signal, 'name', self.signal)}"


def exit_status(code: int) -> ExitStatus:
    """From what `subprocess` calls a return code: an exit code, or a negative signal number."""
    return ExitStatus(code, None) if code >= 0 else ExitStatus(None, _signal(-code))


def _signal(number: int) -> signal.Signals:
    try:
        return signal.Signals(number)
    except ValueError:  # one of Linux's real-time signals, which have no names
        return number  # type: ignore[return-value]
