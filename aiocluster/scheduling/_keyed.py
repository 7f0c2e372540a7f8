"""The base of policies that send connections with the same key to the same worker."""

from __future__ import annotations

from ._slot_table import SlotTable
from .policy import C, Policy
from .round_robin import RoundRobin


class Keyed(Policy[C]):
    """Sends connections with the same key to the same worker, and assigns those without a key in turn."""

    def __init__(self) -> None:
        self._table: SlotTable[C] = SlotTable()
        self._turns: RoundRobin[C] = RoundRobin()

    def add(self, worker: C) -> None:
        self._table.add(worker)
        self._turns.add(worker)

    def remove(self, worker: C) -> None:
        self._table.remove(worker)
        self._turns.remove(worker)

    def forget(self, worker: C) -> None:
        self._turns.forget(worker)  # the table depends on slots only, and a replacement may take this one

    def _find(self, key: bytes | None) -> C:
        return self._turns.pick(None) if key is None else self._table.find(key)
