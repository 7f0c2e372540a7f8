"""How a process ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: by itself, or by a signal.

    Attributes:
        returncode: As `subprocess` has it: an exit code, or a signal's number below 0; None if nobody knows.
    """

    returncode: int | None

    @property
    def code(self) -> int | None:
        """Its exit code; None if a signal ended it, or if nobody knows."""
        return self.returncode if self.returncode is not None and self.returncode >= 0 else None

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that ended it; None if it ended by itself, or if nobody knows."""
        if self.returncode is None or self.returncode >= 0:
            return None
        try:
            return signal.Signals(-self.returncode)
        except ValueError:  # one of Linux's real-time signals, which have no names
            return -self.returncode  # type: ignore[return-value]

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        return f"signal {getattr(self.signal, 'name', self.signal)}"
