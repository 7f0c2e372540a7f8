"""How figures are written, in tables and in the chart."""

from __future__ import annotations

from .rounds import Ratio, Spread

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def quantity(value: float, unit: str) -> str:
    """Three digits and a prefix: ``1.43 M msg/s``, ``53.1 µs``."""
    scale, prefix = next((entry for entry in _PREFIXES if abs(value) >= entry[0] * 0.9995), _PREFIXES[-1])
    number = value / scale
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f} {prefix}{unit if unit in ('s', 'B') else f' {unit}'.rstrip()}"


def quantities(spread: Spread, unit: str) -> str:
    """The median, and from the lowest to the highest: ``53.1 µs (50.0–61.3 µs)``."""
    middle, low, high = (quantity(value, unit) for value in (spread.median, spread.lowest, spread.highest))
    number, _, prefixed = low.partition(" ")
    return f"{middle} ({number if high.endswith(f' {prefixed}') else low}–{high})"


def count(number: float) -> str:
    """Of calls: ``31.0``, ``0.43``."""
    return f"{number:.2f}" if number < 9.995 else f"{number:.1f}"


def ratio(spread: Spread) -> str:
    """The median, and from the lowest to the highest: ``1.04 (1.01–1.09)``."""
    return f"{spread.median:.2f} ({spread.lowest:.2f}–{spread.highest:.2f})"


def short_verdict(ratio: Ratio) -> str:
    """``≤ 1.1: NOT met, 2 of 5``; nothing where there is no goal."""
    if ratio.met is None:
        return ""
    word = "met" if ratio.met else "NOT met"
    return f"{ratio.comparison.goal}: {word}, {ratio.rounds_met} of {len(ratio.per_round)}"


def verdict(ratio: Ratio) -> str:
    """``goal ≤ 1.1: NOT met (2 of 5 rounds)``; nothing where there is no goal."""
    if ratio.met is None:
        return ""
    word = "met" if ratio.met else "NOT met"
    return f"goal {ratio.comparison.goal}: {word} ({ratio.rounds_met} of {len(ratio.per_round)} rounds)"
