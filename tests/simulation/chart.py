"""Results as a chart for the docs: an SVG, the same bytes for the same results and matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from .outcome import Outcome
from .table import Results

_STYLES = ("o-", "s-", "^-", "v-", "D-", "P-", "X-", "o--", "s--", "^--")
_MEASURES: tuple[tuple[str, Callable[[Outcome], float], Sequence[float]], ...] = (
    ("connections of the busiest worker / mean", lambda outcome: outcome.imbalance, (1, 1.5, 2, 3, 4, 5, 6)),
    ("p99 of waiting, ms", lambda outcome: max(1.0, outcome.waited * 1000), (1, 10, 100, 1000, 10_000)),
)


def write(results: Results, sizes: Sequence[int], path: Path) -> None:
    """Draws one column a scenario: imbalance above, waiting below, over the number of workers."""
    with mpl.rc_context({"svg.hashsalt": "aiocluster", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(14, 6.8), layout="constrained")
        axes = figure.subplots(len(_MEASURES), len(results), sharex=True, sharey="row", squeeze=False)
        for row, (label, measure, ticks) in zip(axes, _MEASURES, strict=True):
            row[0].set_ylabel(label)
            for axis, policies in zip(row, results.values(), strict=True):
                for width, (style, (name, outcomes)) in enumerate(zip(_STYLES, policies.items(), strict=True)):
                    values = [measure(outcomes[size]) for size in sizes]
                    # Thinner ones lie on thicker ones, where several policies do the same.
                    axis.plot(sizes, values, style, label=name, markersize=4, linewidth=4 - 0.35 * width)
                axis.set_xscale("log", base=2)
                axis.set_yscale("log", base=10)
                axis.set_xticks(sizes, [str(size) for size in sizes])
                axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
                axis.minorticks_off()
                axis.grid(color="#d0d7de", linewidth=0.5)
        for top, bottom, scenario in zip(*axes, results, strict=True):
            top.set_title(scenario)
            bottom.set_xlabel("workers")
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_STYLES) // 2)
        figure.savefig(path, format="svg", metadata={"Date": None})
