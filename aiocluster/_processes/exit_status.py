"""`ExitStatus`: how a process ended."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended: by itself, or by a signal.

    Attributes:
        returncode: As in `subprocess`: the exit code, or the negative number of a signal; None if unknown.
    """

    returncode: int | None

    @property
    def code(self) -> int | None:
        """The exit code; None if a signal ended it, or if it is unknown."""
        return self.returncode if self.returncode is not None and self.returncode >= 0 else None

    @property
    def signal(self) -> signal.Signals | None:
        """The signal that ended it; None if no signal did, or if it is unknown."""
        if self.returncode is None or self.returncode >= 0:
            return None
        try:
            return signal.Signals(-self.returncode)
        except ValueError:  # a Linux real-time signal, which has no name
            return -self.returncode  # type: ignore[return-value]

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        return f"signal {getattr(self.signal, 'name', self.signal)}"
