"""Ratios as a chart for the docs: SVG, or PNG where cairosvg is installed.

One bar a ratio, all on one scale. The line at 1 is the rival's own figure, the whisker goes from
the lowest round to the highest, and the dashed tick is the goal. Where a measurement has a baseline,
everybody stands beside it, with a goal or without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import count, takewhile
from pathlib import Path
from xml.sax.saxutils import escape

from .rounds import Ratio, Result
from .wording import ratio as written

_LABEL_END, _BAR_START, _BAR_END, _WIDTH = 360, 372, 800, 1000
_TOP, _TITLE_HEIGHT, _ROW_HEIGHT, _BAR_HEIGHT, _FOOT = 12, 34, 30, 16, 48

_INK, _PALE = "#24292f", "#d0d7de"
_COLOURS = {True: "#2f7d5b", False: "#c4622d", None: "#8c959f"}
"""Of a bar whose goal is met, is not met, and of one that has none."""


class ChartError(Exception):
    """The chart can't be drawn as asked."""


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
    drawn = svg(results)
    if path.suffix == ".png":
        import_module("cairosvg").svg2png(bytestring=drawn.encode(), write_to=str(path), scale=2)
    else:
        path.write_text(drawn, encoding="utf-8")


def svg(results: Iterable[Result]) -> str:
    groups = [(result, rows) for result in results if (rows := _ratios(result))]
    ends = [max(ratio.spread.highest, _bound(ratio)) for _, rows in groups for ratio in rows]
    scale = (_BAR_END - _BAR_START) / (1.05 * max(ends, default=1.0))
    shapes: list[str] = []
    y = _TOP
    for result, rows in groups:
        measurement = result.measurement
        better = "less" if measurement.less_is_better else "more"
        beside = f"; 1 is the {measurement.baseline}" if measurement.baseline else ""
        title = f"{measurement.name}  {measurement.title} ({better} is better{beside})"
        shapes.append(_text(12, y + _TITLE_HEIGHT - 12, title, 'font-weight="bold"'))
        y += _TITLE_HEIGHT
        for ratio in rows:
            comparison = ratio.comparison
            label = comparison.subject if measurement.baseline else f"{comparison.subject} / {comparison.against}"
            shapes += _row(ratio, label, y + _ROW_HEIGHT // 2, scale)
            y += _ROW_HEIGHT
    size = f'width="{_WIDTH}" height="{y + _FOOT}"'
    namespace = 'xmlns="http://www.w3.org/2000/svg"'
    head = f'<svg {namespace} {size} font-family="sans-serif" font-size="13">'
    background = f'<rect {size} fill="white"/>'
    return "\n".join([head, background, *_axis(y, scale), *shapes, "</svg>\n"])


def _ratios(result: Result) -> list[Ratio]:
    if result.measurement.baseline is None:
        return [ratio for ratio in result.ratios if ratio.comparison.goal]
    beside = map(result.beside_baseline, result.samples)
    return [ratio for ratio in beside if ratio is not None]


def _bound(ratio: Ratio) -> float:
    goal = ratio.comparison.goal
    return 0.0 if goal is None else goal.bound


def _row(ratio: Ratio, label: str, y: int, scale: float) -> Iterator[str]:
    spread, goal = ratio.spread, ratio.comparison.goal
    colour = _COLOURS[ratio.met]
    low, middle, high = (_BAR_START + value * scale for value in (spread.lowest, spread.median, spread.highest))
    figure = written(spread)
    half = _BAR_HEIGHT // 2
    yield _text(_LABEL_END, y + 4, label, 'text-anchor="end"')
    yield (
        f'<rect x="{_BAR_START}" y="{y - half}" width="{middle - _BAR_START:.1f}" '
        f'height="{_BAR_HEIGHT}" fill="{colour}"/>'
    )
    yield _line(low, y, high, y, f'stroke="{_INK}" stroke-width="2"')
    if goal is None:
        yield _text(_BAR_END + 10, y + 4, figure, "")
        return
    tick = _BAR_START + goal.bound * scale
    yield _line(tick, y - half - 4, tick, y + half + 4, f'stroke="{_INK}" stroke-dasharray="3 2"')
    yield _text(_BAR_END + 10, y - 2, figure, "")
    yield _text(_BAR_END + 10, y + 12, f"goal {goal}", 'font-size="11" fill="#57606a"')


def _axis(bottom: int, scale: float) -> Iterator[str]:
    step = next(s for s in (0.5, 1.0, 2.0, 5.0, 10.0, 50.0) if s * scale >= 40 or s == 50.0)
    ticks = (step * i for i in count())
    for value in takewhile(lambda value: value * scale <= _BAR_END - _BAR_START, ticks):
        x = _BAR_START + value * scale
        yield _line(x, _TOP + _TITLE_HEIGHT, x, bottom, f'stroke="{_PALE}"')
        yield _text(x, bottom + 18, f"{value:g}", 'text-anchor="middle" fill="#57606a"')
    one = _BAR_START + scale
    yield _line(one, _TOP + _TITLE_HEIGHT, one, bottom, f'stroke="{_INK}" stroke-width="1.5"')
    yield _text(_BAR_START, bottom + 36, "ratio within one run; 1 is the rival", 'fill="#57606a"')


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
