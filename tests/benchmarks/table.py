"""Results as text: for a terminal, and as Markdown for the docs.

Where there is one figure, each ratio is a line with its goal. Where there are several, all figures, their ratios to the
baseline and the shares are one table, and the ratios to others another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import median

from .rounds import Ratio, Result
from .wording import quantities, ratio, short_verdict, verdict


@dataclass(frozen=True)
class _Grid:
    heads: Sequence[str]
    """Of the columns, the first of which has the rows' names; empty: none are shown."""
    rows: Sequence[Sequence[str]]

    def text(self) -> Iterator[str]:
        rows = [self.heads, *self.rows] if self.heads else self.rows
        # A row of two cells is a remark, or has all it has in one: it doesn't make its column wide.
        widths = [max(map(len, column)) for column in zip_longest(*(r for r in rows if len(r) != 2), fillvalue="")]
        widths[:1] = [max(len(row[0]) for row in rows)]
        for row in rows:
            cells = (f"{cell:<{width}}" for cell, width in zip_longest(row, widths[: len(row)], fillvalue=0))
            yield f"  {'  '.join(cells)}".rstrip()

    def markdown(self) -> Iterator[str]:
        empty = len(self.heads) * [""]
        for row in (self.heads, len(self.heads) * ["---"], *self.rows):
            yield "|" + "".join(f" {cell} |" if cell else " |" for cell in [*row, *empty[len(row) :]])


def table(results: Iterable[Result], rounds: int) -> str:
    """All results: the contenders' figures, and beneath them the ratios with their goals."""
    head = f"Median of {rounds} rounds (lowest–highest). A ratio is taken within each round."
    return "\n\n".join([head, *("\n".join(_lines(result)) for result in results)])


def markdown(results: Iterable[Result]) -> str:
    """The results with several figures, as tables for the docs."""
    grids = ((result.measurement.title, _contenders(result)) for result in results if result.measurement.further)
    return "\n\n".join("\n".join([f"{title}:", "", *grid.markdown()]) for title, grid in grids)


def _lines(result: Result) -> Iterator[str]:
    measurement = result.measurement
    less = " (less is better)" if measurement.less_is_better else ""
    title = f"{measurement.name}  {measurement.title}{less}"
    yield title
    yield "─" * len(title)
    if measurement.further:
        yield from _contenders(result).text()
        if pairs := _pairs(result):
            yield from pairs.text()
    else:
        yield from _Grid((), [*_contenders(result).rows, *_ratios(result)]).text()


def _contenders(result: Result) -> _Grid:
    measurement = result.measurement
    figures = _figures(result)
    names = [measurement.called(figure) for figure in figures]
    beside = [f"{name} × {measurement.baseline}" for name in names if measurement.baseline]
    heads = ["", *names, *beside, "shares"] if measurement.further else []
    return _Grid(heads, [_row(result, contender.name) for contender in measurement.contenders])


def _row(result: Result, name: str) -> list[str]:
    if reason := result.skipped.get(name):
        return [name, f"skipped: {reason}"]
    if reason := result.failed.get(name):
        return [name, f"FAILED: {reason}"]
    measurement = result.measurement
    figures = _figures(result)
    cells = [name, *(quantities(result.spread(name, figure), measurement.unit) for figure in figures)]
    if measurement.baseline:
        cells += [_cell(result.beside_baseline(name, figure)) for figure in figures]
    if measurement.further:
        cells.append(_shares(result, name))
    if errors := result.errors(name):
        cells.append("errors: " + ", ".join(f"{kind} {count}" for kind, count in errors.items()))
    return cells


def _ratios(result: Result) -> Iterator[list[str]]:
    for each in result.ratios:
        yield [f"{each.comparison.subject} / {each.comparison.against}", ratio(each.spread), verdict(each)]


def _pairs(result: Result) -> _Grid | None:
    """Who is compared with whom, but for the baseline: one row a pair, one column a figure."""
    pairs: dict[str, dict[str | None, Ratio]] = {}
    for each in result.ratios:
        if each.comparison.against != result.measurement.baseline:
            label = f"{each.comparison.subject} / {each.comparison.against}"
            pairs.setdefault(label, {})[each.comparison.figure] = each
    if not pairs:
        return None
    figures = _figures(result)
    heads = ["", *(result.measurement.called(figure) for figure in figures)]
    return _Grid(heads, [[label, *(_cell(row.get(figure)) for figure in figures)] for label, row in pairs.items()])


def _cell(each: Ratio | None) -> str:
    """``1.04 (1.01–1.09) ≤ 1.1: met, 4 of 5``."""
    return "" if each is None else " ".join(filter(None, [ratio(each.spread), short_verdict(each)]))


def _figures(result: Result) -> tuple[str | None, ...]:
    return (*result.measurement.further, None)


def _shares(result: Result, name: str) -> str:
    """Each worker's, as the median of the rounds: of the busiest, of the next, …"""
    rounds = [sample.shares for sample in result.samples[name]]
    return "/".join(f"{median(column):g}" for column in zip(*rounds, strict=True))
