"""Results as text for people, and as a table for the docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .queueing import Outcome

Results = Mapping[str, Mapping[str, Mapping[int, Outcome]]]
"""By scenario, policy and number of workers."""


def text(results: Results, sizes: Sequence[int]) -> str:
    """All figures: for each number of workers the imbalance, and the 99th percentile of waiting in milliseconds."""
    return "\n".join(_lines(results, sizes))


def _lines(results: Results, sizes: Sequence[int]) -> Iterator[str]:
    yield "Connections of the busiest worker / mean, and p99 of waiting in ms, with that many workers"
    width = max(len(name) for policies in results.values() for name in policies)
    for scenario, policies in results.items():
        yield ""
        yield f"{scenario:<{width}}" + "".join(f"{size:>16}" for size in sizes)
        yield "─" * (width + 16 * len(sizes))
        for name, outcomes in policies.items():
            cells = (f"{outcomes[size].imbalance:>8.2f}{outcomes[size].p99 * 1000:>8.0f}" for size in sizes)
            yield f"{name:<{width}}" + "".join(cells)


def markdown(results: Results, size: int) -> str:
    """The figures with that many workers, as Markdown."""
    scenarios = list(results)
    policies = list(results[scenarios[0]])
    rows = [
        f"| `{name}` | "
        + " | ".join(
            f"{results[scenario][name][size].imbalance:.2f} · {_seconds(results[scenario][name][size].p99)}"
            for scenario in scenarios
        )
        + " |"
        for name in policies
    ]
    return "\n".join([f"| policy | {' | '.join(scenarios)} |", "| --- " * (len(scenarios) + 1) + "|", *rows])


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"
