"""Tables of plain text, as wide as the terminal allows."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

_GAP = "  "


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]], first_to_go: Sequence[str]) -> None:
    """Shows a table. In a terminal that is too narrow, columns are left out, and in the end lines cut.

    Args:
        heads: The columns' heads.
        rows: The texts of each row.
        first_to_go: The columns that can be left out, the least important one first.
    """
    width = _width()
    columns = list(range(len(heads)))
    widths = [max(len(head), *(len(row[n]) for row in rows)) if rows else len(head) for n, head in enumerate(heads)]
    for head in first_to_go:
        if sum(widths[n] for n in columns) + len(_GAP) * (len(columns) - 1) <= width:
            break
        columns.remove(list(heads).index(head))
    for row in (heads, *rows):
        line = _GAP.join(row[n].ljust(widths[n]) for n in columns).rstrip()
        click.echo(line if len(line) <= width else f"{line[: width - 1]}…")


def _width() -> int:
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return sys.maxsize
    return max(20, shutil.get_terminal_size().columns)


def size(number: float | None) -> str:
    """Returns bytes in words: ``61.3M``."""
    if number is None:
        return "-"
    for unit in ("B", "K", "M"):
        if number < 1000:
            return f"{number:.1f}{unit}" if unit != "B" and number < 100 else f"{number:.0f}{unit}"
        number /= 1024
    return f"{number:.1f}G"


def duration(seconds: float | None) -> str:
    """Returns seconds in words: ``3d 4h``."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number}{unit}" for number, unit in parts[:2])


def share(part: float | None) -> str:
    """Returns a share in percent."""
    return "-" if part is None else f"{100 * part:.0f}%"


def text(value: object) -> str:
    """Returns a value as text; nothing is a dash."""
    return "-" if value is None or value == "" else str(value)


def slow(worker: Mapping[str, Any]) -> str:
    """Returns how often a worker's event loop was blocked, and where the last time; the setting ``slow_loop``."""
    last = worker.get("last_slow")
    return "-" if last is None else f"{worker['slow']}× {last['where']} ({last['seconds']:.2f} s)"


def ending(end: Mapping[str, Any] | None) -> str | None:
    """Returns how a process has ended, in words; None if it has not."""
    if end is None:
        return None
    code = end.get("code")
    how = end.get("signal") or ("killed" if code is None else f"exit code {code}")
    return ", ".join(str(part) for part in (end.get("reason"), how) if part is not None)
