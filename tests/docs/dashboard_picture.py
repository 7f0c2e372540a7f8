"""The dashboard's picture, drawn from Prometheus' answers to its queries: ``python -m tests.docs.dashboard_picture``.

It takes four minutes. No Grafana is needed: the panels' places, titles, units and legends are those of the file.
"""

from __future__ import annotations

import asyncio
import html
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.docs.dashboard import Dashboard, Panel
from tests.docs.dashboard_day import Day, day
from tests.docs.snippets import ROOT

PICTURE = ROOT / "docs" / "images" / "dashboard.svg"
SECONDS = 240.0
INTERVAL = 2.0  # seconds between two scrapes

COLUMN, ROW = 50.0, 31.0  # of the grid, which has 24 columns
GAP = 8.0
LEFT, TOP, RIGHT = 52.0, 30.0, 14.0  # around a panel's lines
LEGEND = 12.0  # the height of a line of it
LETTER = 5.3  # the width of one, more or less
COLORS = ("#3274d9", "#e0752d", "#299c46", "#a352cc", "#c4162a", "#b58900", "#0e8a8a", "#7a7a7a")
STYLE = """\
text { font: 9px sans-serif; fill: #57606a }
text.title { font: bold 11px sans-serif; fill: #24292f }
polyline { fill: none; stroke-width: 1.2; stroke-linejoin: round }
"""


@dataclass(frozen=True)
class Line:
    """What a panel shows of one series.

    Attributes:
        name: What it is called.
        points: Its values by time, in seconds since the beginning.
    """

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """Where values are.

    Attributes:
        top: The largest value.
        ticks: The values that the axis names.
    """

    top: float
    ticks: list[float]

    @classmethod
    def of(cls, panel: Panel, lines: Sequence[Line]) -> Scale:
        """The axis of these lines, which begins at 0."""
        most = max((value for line in lines for _, value in line.points), default=0.0) or 1.0
        unit = 2.0**20 if panel.unit == "bytes" else 1.0
        top = panel.high or most
        step = nice(top / unit / 4) * unit
        count = math.ceil(top / step - 1e-9)
        return cls(step * count, [step * number for number in range(count + 1)])


def nice(step: float) -> float:
    """The next larger one of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def shown(value: float, unit: str) -> str:
    """A value with its unit, as Grafana writes it."""
    if unit == "percentunit":
        return f"{value * 100:g}%"
    if unit == "bytes":
        return f"{value / 2**20:g} MiB" if value else "0 B"
    if unit == "s":
        return f"{value * 1000:g} ms" if 0 < value < 1 else f"{value:g} s"
    return f"{value:g} c/s" if unit == "cps" else f"{value:g}"


def minutes(seconds: float) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"


def answers(one: Day, panel: Panel, variables: dict[str, str]) -> list[Line]:
    """What Prometheus says to a panel's queries."""
    return [
        Line(
            query.name(series.labels),
            [(at - one.begin, value) for at, value in sorted(series.values.items()) if not math.isnan(value)],
        )
        for query in panel.queries
        for series in one.prometheus.ask_range(query.filled(variables), one.begin, one.end, INTERVAL)
    ]


def pieces(points: Sequence[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """The points without gaps in between; of those with one value only the first and the last."""
    piece: list[tuple[float, float]] = []
    for point in points:
        if piece and point[0] - piece[-1][0] > 1.5 * INTERVAL:
            yield piece
            piece = []
        if len(piece) > 1 and piece[-2][1] == piece[-1][1] == point[1]:
            piece[-1] = point
        else:
            piece.append(point)
    if piece:
        yield piece


def steps(piece: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same as stairs: each value holds until the next one."""
    stairs = [piece[0]]
    for before, point in pairwise(piece):
        stairs += [(point[0], before[1]), point] if before[1] != point[1] else [point]
    return stairs


def rows_of_legend(names: Sequence[str], width: float) -> list[list[tuple[int, float]]]:
    """In each row, the numbers of the names in it, and where each begins."""
    rows: list[list[tuple[int, float]]] = [[]]
    x = 0.0
    for number, name in enumerate(names):
        needed = 22 + LETTER * len(name)
        if x and x + needed > width:
            rows.append([])
            x = 0.0
        rows[-1].append((number, x))
        x += needed
    return rows


def draw_panel(panel: Panel, lines: Sequence[Line], seconds: float) -> Iterator[str]:
    """Its elements."""
    column, row, columns, height = panel.place
    x, y = column * COLUMN + GAP / 2, row * ROW + GAP / 2
    width, high = columns * COLUMN - GAP, height * ROW - GAP
    names = [line.name for line in lines]
    legend = rows_of_legend(names, width - 2 * RIGHT)
    plot_width = width - LEFT - RIGHT
    plot_height = high - TOP - 24 - LEGEND * len(legend)
    scale = Scale.of(panel, lines)

    def across(at: float) -> str:
        return f"{x + LEFT + plot_width * at / seconds:.1f}"

    def up(value: float) -> str:
        return f"{y + TOP + plot_height * (1 - value / scale.top):.1f}"

    yield f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{high:g}" rx="3" fill="white" stroke="#d0d7de"/>'
    yield f'<text class="title" x="{x + RIGHT:g}" y="{y + 18:g}">{html.escape(panel.title)}</text>'
    for tick in scale.ticks if lines else ():
        yield f'<path d="M{across(0)} {up(tick)}H{across(seconds)}" stroke="#eaeef2"/>'
        label = html.escape(shown(tick, panel.unit))
        yield f'<text x="{x + LEFT - 5:g}" y="{float(up(tick)) + 3:g}" text-anchor="end">{label}</text>'
    for at in range(0, int(seconds) + 1, 60):
        below = y + TOP + plot_height + 13
        yield f'<text x="{across(at)}" y="{below:g}" text-anchor="middle">{minutes(at)}</text>'
    for number, line in enumerate(lines):
        color = COLORS[number % len(COLORS)]
        for piece in pieces(line.points):
            corners = steps(piece) if panel.is_stepped else piece
            path = " ".join(f"{across(at)},{up(value)}" for at, value in corners)
            yield f'<polyline points="{path}" stroke="{color}"/>'
    if not lines:
        text = html.escape(panel.no_value)
        yield f'<text x="{x + width / 2:g}" y="{y + high / 2:g}" text-anchor="middle">{text}</text>'
    for line_number, entries in enumerate(legend):
        base = y + high - 8 - LEGEND * (len(legend) - 1 - line_number)
        for number, begin in entries:
            left = x + RIGHT + begin
            yield f'<path d="M{left:.1f} {base - 3:g}h10" stroke="{COLORS[number % len(COLORS)]}" stroke-width="3"/>'
            yield f'<text x="{left + 13:.1f}" y="{base:g}">{html.escape(names[number])}</text>'


def draw(drawn: Sequence[tuple[Panel, Sequence[Line]]], seconds: float) -> str:
    """The picture as SVG."""
    width = max(panel.place[0] + panel.place[2] for panel, _ in drawn) * COLUMN
    height = max(panel.place[1] + panel.place[3] for panel, _ in drawn) * ROW
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}">',
            f"<style>\n{STYLE}</style>",
            f'<rect width="{width:g}" height="{height:g}" fill="#f6f8fa"/>',
            *(element for panel, lines in drawn for element in draw_panel(panel, lines, seconds)),
            "</svg>\n",
        ]
    )


async def main() -> None:
    dashboard = Dashboard.read(ROOT / "examples" / "metrics" / "grafana.json")
    async with day(SECONDS, INTERVAL) as one:
        instance = re.escape(one.target).replace("\\", "\\\\")
        variables = {"job": "shop", "instance": instance, "__rate_interval": f"{4 * INTERVAL:g}s"}
        drawn = [(panel, answers(one, panel, variables)) for panel in dashboard.panels]
    PICTURE.write_text(draw(drawn, SECONDS))


if __name__ == "__main__":
    asyncio.run(main())
