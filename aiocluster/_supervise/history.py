"""How the processes of each slot have ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .plan import Slot

_ASKED_FOR = frozenset({"told", "own"})


@dataclass(slots=True)
class Ends:
    """How the processes of one slot have ended.

    Attributes:
        restarts: How many have ended without having been told to, nor by their own choice.
        last: The last one: ``reason`` (see `events.Exit`), ``code``, ``signal``, ``at`` (seconds since the epoch), and
            ``pid``. None: none has ended.
    """

    restarts: int = 0
    last: dict[str, Any] | None = None


@dataclass(slots=True)
class History:
    """How processes have ended, by slot.

    Attributes:
        last_restart: The last one that has ended unexpectedly, as in `Ends.last`.
    """

    last_restart: dict[str, Any] | None = None
    _slots: dict[Slot, Ends] = field(default_factory=dict)

    def of(self, slot: Slot) -> Ends:
        """Returns the ends of this slot's processes."""
        return self._slots.get(slot, Ends())

    def ended(self, slot: Slot, reason: str, code: int | None, signal: str | None, pid: int, at: float) -> None:
        """Records an end."""
        ends = self._slots.setdefault(slot, Ends())
        ends.last = {"reason": reason, "code": code, "signal": signal, "pid": pid, "at": at}
        if reason not in _ASKED_FOR:
            ends.restarts += 1
            self.last_restart = {"slot": slot, **ends.last}
