"""Results as text for people and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
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


def _ratio_data(ratio: Ratio) -> dict[str, Any]:
    goal = ratio.comparison.goal
    return {
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
    for name in names:
        yield f"  {name:<{width}}  {_figure(result, name)}"
    for ratio_, label in zip(result.ratios, labels, strict=True):
        line = f"  {label:<{width}}  {_spread(ratio_.spread, ''):<20}  {_verdict(ratio_, rounds)}"
        yield line.rstrip()


def _figure(result: Result, name: str) -> str:
    if reason := result.skipped.get(name):
        return f"skipped: {reason}"
    if reason := result.failed.get(name):
        return f"FAILED: {reason}"
    errors = ", ".join(f"{kind} {count}" for kind, count in result.errors(name).items())
    figure = _spread(result.spread(name), result.measurement.unit)
    return f"{figure}  errors: {errors}" if errors else figure


def _label(ratio: Ratio) -> str:
    return f"{ratio.comparison.subject} / {ratio.comparison.against}"


def _spread(spread: Spread, unit: str) -> str:
    def show(value: float) -> str:
        return quantity(value, unit) if unit else ratio(value)

    return f"{show(spread.median)} ({show(spread.lowest)}–{show(spread.highest)})"


def _verdict(ratio: Ratio, rounds: int) -> str:
    if ratio.met is None:
        return ""
    word = "met" if ratio.met else "NOT met"
    return f"goal {ratio.comparison.goal}: {word} ({ratio.rounds_met} of {rounds} rounds)"
