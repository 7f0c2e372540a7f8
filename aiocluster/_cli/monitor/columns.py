"""The table of ``top``: its columns, and which of them there is room for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ..table import duration, ending, share, size, slow, text


class Column(NamedTuple):
    """A column.

    Attributes:
        head: Its head.
        cell: From a worker, as `rates.measured` has it, to its text.
        is_number: Whether it stands at the right.
    """

    head: str
    cell: Callable[[dict[str, Any]], str]
    is_number: bool = True


COLUMNS: Final[Sequence[Column]] = (
    Column("SLOT", lambda worker: text(worker["name"] if worker["slot"] is None else worker["slot"])),
    Column("PID", lambda worker: str(worker["pid"])),
    Column("STATE", lambda worker: worker["state"], is_number=False),
    Column("AGE", lambda worker: duration(worker["age"])),
    Column("CPU", lambda worker: share(worker["cpu"])),
    Column("MEMORY", lambda worker: size(worker["memory"])),
    Column("BUSY", lambda worker: share(worker["busy"])),
    Column("OPEN", lambda worker: str(worker["connections"])),
    Column("TAKEN", lambda worker: str(worker["taken"])),
    Column("MESSAGES", lambda worker: str(worker["messages"])),
    Column("RESTARTS", lambda worker: str(worker["restarts"])),
    Column("SLOW", slow, is_number=False),
    Column("LAST EXIT", lambda worker: text(ending(worker["last_exit"])), is_number=False),
)

_FIRST_TO_GO: Final = ("LAST EXIT", "SLOW", "MESSAGES", "TAKEN", "AGE", "RESTARTS", "OPEN", "BUSY", "MEMORY", "PID")


def shown(workers: Sequence[dict[str, Any]], width: int, padding: int) -> tuple[list[Column], list[list[str]]]:
    """Returns the columns that there is room for, and the texts of each row.

    Args:
        workers: The workers, as `rates.measured` has them.
        width: Characters in a line.
        padding: Characters around each text.
    """
    rows = [[column.cell(worker) for column in COLUMNS] for worker in workers]
    widths = [max([len(column.head), *(len(row[n]) for row in rows)]) for n, column in enumerate(COLUMNS)]
    kept = list(range(len(COLUMNS)))
    heads = [column.head for column in COLUMNS]
    for head in _FIRST_TO_GO:
        if sum(widths[n] + padding for n in kept) <= width:
            break
        kept.remove(heads.index(head))
    return [COLUMNS[n] for n in kept], [[row[n] for n in kept] for row in rows]
