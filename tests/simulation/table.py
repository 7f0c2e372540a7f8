"""Results as text for people, and as tables for the docs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from .outcome import Outcome

Results = Mapping[str, Mapping[str, Mapping[int, Outcome]]]
"""By scenario, contender and number of workers."""


def policies(results: Results, sizes: Sequence[int]) -> str:
    """For each number of workers the imbalance, and the 99th percentile of waiting in milliseconds."""
    title = "Connections of the busiest worker / mean, and p99 of waiting in ms, with that many workers"
    return _text(title, results, sizes, lambda outcome, _: f"{outcome.imbalance:>8.2f}{outcome.waited * 1000:>8.0f}")


def windows(results: Results, sizes: Sequence[int], ideal: str) -> str:
    """For each number of workers percentiles beside those of the ideal queue, the imbalance, and the time lost."""
    title = "p50, p90 and p99 / those of the ideal queue, imbalance, and % of time idle although a request waits"
    return _text(title, results, sizes, _beside, ideal)


def _beside(outcome: Outcome, ideal: Outcome) -> str:
    ratios = (f"{_ratio(own / best):>7}" for own, best in zip(_percentiles(outcome), _percentiles(ideal), strict=True))
    return f"{''.join(ratios)}{outcome.imbalance:>7.2f}{outcome.lost * 100:>6.1f}"


def _text(
    title: str,
    results: Results,
    sizes: Sequence[int],
    cell: Callable[[Outcome, Outcome], str],
    beside: str | None = None,
) -> str:
    return "\n".join(_lines(title, results, sizes, cell, beside))


def _lines(
    title: str,
    results: Results,
    sizes: Sequence[int],
    cell: Callable[[Outcome, Outcome], str],
    beside: str | None,
) -> Iterator[str]:
    yield title
    width = max(len(name) for contenders in results.values() for name in contenders)
    for scenario, contenders in results.items():
        rows = {
            name: [cell(outcomes[size], contenders[beside or name][size]) for size in sizes]
            for name, outcomes in contenders.items()
        }
        column = len(next(iter(rows.values()))[0])
        yield ""
        yield f"{scenario:<{width}}" + "".join(f"{size:>{column}}" for size in sizes)
        yield "─" * (width + column * len(sizes))
        for name, cells in rows.items():
            yield f"{name:<{width}}" + "".join(cells)


def policies_markdown(results: Results, size: int) -> str:
    """The figures of policies with that many workers, as Markdown."""
    return _markdown(
        results, size, "policy", lambda outcome, _: f"{outcome.imbalance:.2f} · {_seconds(outcome.waited)}"
    )


def windows_markdown(results: Results, size: int, ideal: str) -> str:
    """The figures of windows with that many workers, as Markdown."""
    return _markdown(
        results,
        size,
        "order, window",
        lambda outcome, best: f"{_ratio(outcome.p90 / best.p90)} · {_ratio(outcome.p99 / best.p99)}",
        ideal,
    )


def _markdown(
    results: Results, size: int, first: str, cell: Callable[[Outcome, Outcome], str], beside: str | None = None
) -> str:
    names = [name for name in next(iter(results.values())) if name != beside]
    rows = (
        [cell(contenders[name][size], contenders[beside or name][size]) for contenders in results.values()]
        for name in names
    )
    return "\n".join(
        [
            f"| {first} | {' | '.join(results)} |",
            "| --- " * (len(results) + 1) + "|",
            *(f"| {name} | {' | '.join(row)} |" for name, row in zip(names, rows, strict=True)),
        ]
    )


def _percentiles(outcome: Outcome) -> tuple[float, float, float]:
    return outcome.p50, outcome.p90, outcome.p99


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"
