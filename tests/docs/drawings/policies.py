"""How long requests wait with each policy, from the table on the page."""

from __future__ import annotations

from collections.abc import Iterator

from tests.docs.snippets import ROOT

from .svg import LEADING, WIDTH, Drawing

_PAGE = ROOT / "docs" / "explanation" / "policies.md"
_SHOWN = {
    "blocking": "blocking: most requests take 4 ms, some 100 ms",
    "long-lived": "long-lived: connections that stay open",
}
_EDGE = 14
_NAMES = 188
_ROW, _BAR = 24, 14


def draw() -> Drawing:
    groups = {title: list(_waits(scenario)) for scenario, title in _SHOWN.items()}
    height = 44 + sum(44 + _ROW * len(rows) for rows in groups.values())
    drawing = Drawing("How long requests wait with each policy; the table on the page has the figures", height)
    drawing.words(_EDGE, 34, "p99 of waiting, 16 workers (less is better)", bold=True)
    y = 34
    for title, rows in groups.items():
        drawing.words(_EDGE, y + LEADING + 8, title, muted=True)
        y += 44
        longest = max(seconds for _, seconds, _ in rows)
        for policy, seconds, written in rows:
            wide = (WIDTH - _NAMES - _EDGE - 62) * seconds / longest
            drawing.words(_NAMES - 8, y + 13, policy, anchor="end")
            drawing.bar(_NAMES, y + 1, max(wide, 1.5), _BAR, "primary" if policy == "least_busy" else "client")
            drawing.words(_NAMES + wide + 6, y + 13, written)
            y += _ROW
    return drawing


def _waits(scenario: str) -> Iterator[tuple[str, float, str]]:
    """Of each policy: its name, the seconds, and how these are written."""
    table = _PAGE.read_text().partition("\n| policy |")[2].partition("\n\n")[0].splitlines()
    column = [name.strip() for name in table[0].split("|")].index(scenario)
    for row in table[2:]:
        cells = row.split("|")[1:]
        written = cells[column + 1].split("·")[1].strip()
        number, unit = written.split()
        yield cells[0].strip(" `"), float(number) * (0.001 if unit == "ms" else 1), written
