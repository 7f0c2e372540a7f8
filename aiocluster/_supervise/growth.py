"""`Growth`: the workers that the load has added and that do not serve yet, and when it may add more. Sans-I/O."""

from __future__ import annotations

from .plan import Slot

_BACKOFF = (1.0, 60.0)  # seconds without growth after a start has failed: the first time, and at most
_AFTER_AN_END = 5.0  # seconds without growth after a worker has ended unexpectedly


class Growth:
    """What is particular to workers that nobody has asked for.

    One that fails is no user's failed request, and no unexpected end: it is wanted no more, and for a while the load
    adds no others. The same while workers end unexpectedly: more of them would end in the same way.

    Attributes:
        slots: The slots that were added and whose worker has not served yet.
        failures: How many of them have failed since the last one that served.
    """

    def __init__(self) -> None:
        self.slots: set[Slot] = set()
        self.failures = 0
        self._not_before = 0.0

    def may_begin(self, now: float) -> bool:
        """Whether workers may be added now."""
        return now >= self._not_before

    def serves(self, slot: Slot) -> None:
        """This slot's worker serves: from now on it is one like the others."""
        if slot in self.slots:
            self.slots.discard(slot)
            self.failures = 0

    def failed(self, slot: Slot, now: float) -> None:
        """This slot's worker has failed before it served."""
        self.slots.discard(slot)
        first, most = _BACKOFF
        self._not_before = now + min(most, first * 2.0 ** min(self.failures, 60))
        self.failures += 1

    def ended(self, now: float) -> None:
        """A worker that served has ended unexpectedly."""
        self._not_before = max(self._not_before, now + _AFTER_AN_END)
