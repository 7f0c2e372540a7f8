"""Results as text for people and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import zip_longest
from statistics import median
from typing import Any

from .rounds import Ratio, Result, Spread

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def table(results: Iterable[Result], rounds: int) -> str:
    """All results: the contenders' figures, and beneath them the ratios with their goals."""
    head = f"Median of {rounds} rounds (lowest–highest). A ratio is taken within each round."
    return "\n\n".join([head, *("\n".join(_lines(result, rounds)) for result in results)])


def quantity(value: float, unit: str) -> str:
    """Three digits and a prefix: ``1.43 M msg/s``, ``53.1 µs``."""
    scale, prefix = next((entry for entry in _PREFIXES if abs(value) >= entry[0] * 0.9995), _PREFIXES[-1])
    number = value / scale
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f} {prefix}{unit if unit in ('s', 'B') else f' {unit}'.rstrip()}"


def ratio(value: float) -> str:
    return f"{value:.2f}"


def data(results: Iterable[Result]) -> list[dict[str, Any]]:
    """The results as JSON has them: every round's figures, not only the medians."""
    return [
        {
            "name": result.measurement.name,
            "title": result.measurement.title,
            "unit": result.measurement.unit,
            "contenders": [
                {
                    "name": name,
                    **asdict(result.spread(name)),
                    "rounds": [sample.value for sample in samples],
                    **_further_data(result, name),
                    "errors": dict(result.errors(name)),
                }
                for name, samples in result.samples.items()
            ],
            "ratios": [_ratio_data(ratio) for ratio in result.ratios],
            "skipped": result.skipped,
            "failed": result.failed,
        }
        for result in results
    ]


def _further_data(result: Result, name: str) -> dict[str, Any]:
    measurement = result.measurement
    samples = result.samples[name]
    written: dict[str, Any] = {}
    if measurement.further:
        written["figure"] = measurement.figure
        written["further"] = {
            figure: {**asdict(result.spread(name, figure)), "rounds": [sample.figure(figure) for sample in samples]}
            for figure in measurement.further
        }
    if any(sample.shares for sample in samples):
        written["shares"] = [list(sample.shares) for sample in samples]
    if measurement.baseline:
        beside = {figure: result.beside_baseline(name, figure) for figure in (*measurement.further, None)}
        written["beside_baseline"] = {
            measurement.called(figure): {**asdict(ratio.spread), "rounds": ratio.per_round}
            for figure, ratio in beside.items()
            if ratio is not None
        }
    return written


def _ratio_data(ratio: Ratio) -> dict[str, Any]:
    goal = ratio.comparison.goal
    return {
        "figure": ratio.comparison.figure,
        "subject": ratio.comparison.subject,
        "against": ratio.comparison.against,
        **asdict(ratio.spread),
        "rounds": ratio.per_round,
        "goal": goal and str(goal),
        "met": ratio.met,
    }


def _lines(result: Result, rounds: int) -> Iterable[str]:
    measurement = result.measurement
    less = " (less is better)" if measurement.less_is_better else ""
    title = f"{measurement.name}  {measurement.title}{less}"
    yield title
    yield "─" * len(title)
    names = [contender.name for contender in measurement.contenders]
    labels = [_label(ratio) for ratio in result.ratios]
    width = max(map(len, names + labels))
    rows = {
        name: [_spread(result.spread(name, figure), measurement.unit) for figure in _figures(result)]
        for name in result.samples
    }
    rows = {name: [*row, *_rest(result, name)] for name, row in rows.items()}
    if measurement.further:
        rows = {"": _heads(result), **rows}
    widths = [max(map(len, column)) for column in zip_longest(*rows.values(), fillvalue="")]
    if "" in rows:
        yield _line("", rows[""], width, widths)
    for name in names:
        if reason := result.skipped.get(name):
            yield f"  {name:<{width}}  skipped: {reason}"
        elif reason := result.failed.get(name):
            yield f"  {name:<{width}}  FAILED: {reason}"
        else:
            yield _line(name, rows[name], width, widths)
    for ratio_, label in zip(result.ratios, labels, strict=True):
        line = f"  {label:<{width}}  {_spread(ratio_.spread, ''):<20}  {_verdict(ratio_, rounds)}"
        yield line.rstrip()


def _line(name: str, cells: list[str], width: int, widths: list[int]) -> str:
    columns = (f"{cell:<{column}}" for cell, column in zip(cells, widths, strict=False))
    return f"  {name:<{width}}  {'  '.join(columns)}".rstrip()


def _figures(result: Result) -> tuple[str | None, ...]:
    return (*result.measurement.further, None)


def _heads(result: Result) -> list[str]:
    measurement = result.measurement
    names = [measurement.called(figure) for figure in _figures(result)]
    beside = [f"{name} × {measurement.baseline}" for name in names if measurement.baseline]
    return [*names, *beside, "shares"]


def _rest(result: Result, name: str) -> list[str]:
    """What stands behind a contender's figures."""
    cells = []
    if result.measurement.baseline:
        beside = [result.beside_baseline(name, figure) for figure in _figures(result)]
        cells += ["" if ratio is None else _spread(ratio.spread, "") for ratio in beside]
    if result.measurement.further:
        cells.append(_shares(result, name))
    if errors := result.errors(name):
        cells.append("errors: " + ", ".join(f"{kind} {count}" for kind, count in errors.items()))
    return cells


def _shares(result: Result, name: str) -> str:
    """Each worker's, as the median of the rounds: of the busiest, of the next, …"""
    rounds = [sample.shares for sample in result.samples[name]]
    return "/".join(f"{median(column):g}" for column in zip(*rounds, strict=True))


def _label(ratio: Ratio) -> str:
    label = f"{ratio.comparison.subject} / {ratio.comparison.against}"
    return label if ratio.comparison.figure is None else f"{label}, {ratio.comparison.figure}"


def _spread(spread: Spread, unit: str) -> str:
    if not unit:
        return f"{ratio(spread.median)} ({ratio(spread.lowest)}–{ratio(spread.highest)})"
    middle, low, high = (quantity(value, unit) for value in (spread.median, spread.lowest, spread.highest))
    number, _, prefixed = low.partition(" ")
    return f"{middle} ({number if high.endswith(f' {prefixed}') else low}–{high})"


def _verdict(ratio: Ratio, rounds: int) -> str:
    if ratio.met is None:
        return ""
    word = "met" if ratio.met else "NOT met"
    return f"goal {ratio.comparison.goal}: {word} ({ratio.rounds_met} of {rounds} rounds)"
