"""Ratios as a chart for the docs: SVG, or PNG where cairosvg is installed.

One bar a ratio, all on one scale. The line at 1 is the rival's own figure, the whisker goes from
the lowest round to the highest, and the dashed tick is the goal. Where a measurement has a baseline,
everybody stands beside it, with a goal or without.

What an SVG shows is also written beside it as JSON. From that, ``nox -s pictures`` draws it anew.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from tests.docs.drawings.svg import LEADING, WIDTH, Drawing, Kind

from .rounds import Ratio, Result, Spread
from .wording import ratio as written

_EDGE = 14
_ROW, _BAR = 46, 14
_LETTERS = 46  # in a line of a title


class ChartError(Exception):
    """The chart can't be drawn as asked."""


@dataclass(frozen=True)
class Bar:
    """One ratio."""

    label: str
    median: float
    lowest: float
    highest: float
    goal: str | None = None
    bound: float | None = None
    met: bool | None = None

    @classmethod
    def of(cls, ratio: Ratio, label: str) -> Bar:
        goal, spread = ratio.comparison.goal, ratio.spread
        wanted, bound = (None, None) if goal is None else (str(goal), goal.bound)
        return cls(label, spread.median, spread.lowest, spread.highest, wanted, bound, ratio.met)

    @property
    def kind(self) -> Kind:
        if self.met is None:
            return "primary" if self.label.startswith("aiocluster") else "client"
        return "worker" if self.met else "agent"

    @property
    def end(self) -> float:
        return max(self.highest, self.bound or 0.0)


@dataclass(frozen=True)
class Group:
    """One measurement's ratios."""

    title: str
    bars: Sequence[Bar]


def writable(path: Path) -> None:
    """Find out before the measurements, not after them, that a chart can't be written.

    Raises:
        ChartError: The name ends in neither .svg nor .png, or a PNG was asked for without cairosvg.
    """
    if path.suffix not in (".svg", ".png"):
        raise ChartError(f"{path}: a chart is an .svg or a .png")
    if path.suffix == ".png":
        try:
            import_module("cairosvg")
        except (ImportError, OSError) as error:  # OSError: the cairo library itself is missing
            raise ChartError(f"a .png needs cairosvg ({error}); an .svg needs nothing") from None


def write(results: Iterable[Result], path: Path) -> None:
    """Draw the chart into a file; its suffix says in which format."""
    groups = of(results)
    drawn = drawing(groups).svg()
    if path.suffix == ".png":
        import_module("cairosvg").svg2png(bytestring=drawn.encode(), write_to=str(path), scale=2)
    else:
        path.write_text(drawn, encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps([asdict(group) for group in groups], indent=2) + "\n")


def read(path: Path) -> list[Group]:
    """What was written beside a chart."""
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return [Group(group["title"], [Bar(**bar) for bar in group["bars"]]) for group in found]


def of(results: Iterable[Result]) -> list[Group]:
    """What a chart of the results shows."""
    groups = []
    for result in results:
        measurement = result.measurement
        better = "less" if measurement.less_is_better else "more"
        beside = f"; 1 is the {measurement.baseline}" if measurement.baseline else ""
        bars = [
            Bar.of(ratio, ratio.comparison.subject if measurement.baseline else _both(ratio))
            for ratio in _ratios(result)
        ]
        if bars:
            groups.append(Group(f"{measurement.title} ({better} is better{beside})", bars))
    return groups


def drawing(groups: Sequence[Group]) -> Drawing:
    titles = [textwrap.wrap(group.title, _LETTERS) for group in groups]
    lines = sum(map(len, titles))
    bars = sum(len(group.bars) for group in groups)
    height = 14 + lines * LEADING + len(groups) * 20 + bars * _ROW + 40
    drawn = Drawing("; ".join(_in_words(group) for group in groups), height)
    scale = (WIDTH - 2 * _EDGE) / (1.05 * max((bar.end for group in groups for bar in group.bars), default=1.0))
    y = 14.0
    for group, title in zip(groups, titles, strict=True):
        for line in title:
            y += LEADING
            drawn.words(_EDGE, y - 4, line, bold=True)
        _axis(drawn, y + 10, height - 36, scale)
        y += 20
        for bar in group.bars:
            _bar(drawn, bar, y, scale)
            y += _ROW
    for value in _ticks(scale):
        drawn.words(_EDGE + value * scale, height - 16, f"{value:g}", anchor="middle" if value else "start", muted=True)
    return drawn


def _in_words(group: Group) -> str:
    figures = [Spread(bar.median, bar.lowest, bar.highest) for bar in group.bars]
    bars = [f"{bar.label} {written(figure)}" for bar, figure in zip(group.bars, figures, strict=True)]
    return f"{group.title}: {', '.join(bars)}"


def _both(ratio: Ratio) -> str:
    return f"{ratio.comparison.subject} / {ratio.comparison.against}"


def _ratios(result: Result) -> list[Ratio]:
    if result.measurement.baseline is None:
        return [ratio for ratio in result.ratios if ratio.comparison.goal]
    beside = map(result.beside_baseline, result.samples)
    return [ratio for ratio in beside if ratio is not None]


def _bar(drawn: Drawing, bar: Bar, y: float, scale: float) -> None:
    """The label and the figure on a line, and the bar beneath them."""
    goal = f", goal {bar.goal}" if bar.goal else ""
    figure = written(Spread(bar.median, bar.lowest, bar.highest))
    drawn.backed_label(_EDGE, y + 14, bar.label)
    drawn.backed_figure(WIDTH - _EDGE, y + 14, figure + goal)
    top = y + 20
    drawn.bar(_EDGE, top, bar.median * scale, _BAR, bar.kind)
    low, high, middle = _EDGE + bar.lowest * scale, _EDGE + bar.highest * scale, top + _BAR / 2
    drawn.line((low, middle), (high, middle), style="ink")
    if bar.bound is not None:
        tick = _EDGE + bar.bound * scale
        drawn.line((tick, top - 3), (tick, top + _BAR + 3), thin=True, style="ink")


def _ticks(scale: float) -> Iterable[float]:
    step = next(s for s in (0.5, 1.0, 2.0, 5.0, 10.0, 50.0) if s * scale >= 40 or s == 50.0)
    return takewhile(lambda value: value * scale <= WIDTH - 2 * _EDGE, (step * i for i in count()))


def _axis(drawn: Drawing, top: float, bottom: float, scale: float) -> None:
    for value in _ticks(scale):
        drawn.line(
            (_EDGE + value * scale, top), (_EDGE + value * scale, bottom), style="ink" if value == 1.0 else "grid"
        )
