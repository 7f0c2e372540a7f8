"""Results as text: for a terminal, and as Markdown for the docs.

Where there is one figure, each ratio is a line with its goal. Where there are several, all figures, their ratios to the
baseline and the shares are one table, and the ratios to others another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import median

from .measurement import BEFORE
from .rounds import Ratio, Result
from .wording import count, quantities, ratio, short_verdict, verdict

_COST = "CPU time and calls per operation"


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
    results = list(results)
    costs = [cost for result in results if (cost := _cost_text(result))]
    return "\n\n".join([head, *("\n".join(_lines(result)) for result in results), *costs])


def markdown(results: Iterable[Result]) -> str:
    """The results with several figures, and what one operation costs, as tables for the docs."""
    grids = [
        (title, grid)
        for result in results
        for title, grid in (
            (result.measurement.title, _contenders(result) if result.measurement.further else None),
            (f"{result.measurement.title}, {_COST}", _costs(result)),
        )
        if grid is not None
    ]
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


def _cost_text(result: Result) -> str:
    grid = _costs(result)
    if grid is None:
        return ""
    title = f"{result.measurement.name}  {_COST}"
    return "\n".join([title, "─" * len(title), *grid.text()])


def _costs(result: Result) -> _Grid | None:
    """What one operation costs each process: a row for each. None where that is not known."""
    rows = []
    compared = False
    for name in result.samples:
        for process in result.processes(name):
            cpu, beside = result.cpu(name, process), result.cpu_beside_before(name, process)
            calls = result.calls.get(name, {}).get(process)
            compared = compared or beside is not None
            rows.append(
                [
                    f"{name}: {process}",
                    quantities(cpu, "s") if cpu else "",
                    ratio(beside) if beside else "",
                    *([count(calls.python), count(calls.c)] if calls else ["", ""]),
                ]
            )
    if not rows:
        return None
    heads = ["", "CPU time", f"× {BEFORE}", "Python calls", "C calls"]
    return _Grid(heads, rows) if compared else _Grid(heads[:2] + heads[3:], [row[:2] + row[3:] for row in rows])


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
