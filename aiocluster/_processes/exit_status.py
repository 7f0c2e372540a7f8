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
