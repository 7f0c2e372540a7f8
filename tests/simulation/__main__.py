"""``python -m tests.simulation [--chart FILE] [--markdown]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from . import chart, table
from .everything import SIZES, simulate

_DOCS = Path(__file__).parents[2] / "docs" / "guide"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything, print the table and draw the chart. No chance is involved: two runs give the same."""
    options = _parser().parse_args(arguments)
    with ProcessPoolExecutor() as processes:
        results = simulate(SIZES, processes.map)
    print(table.text(results, SIZES))
    if options.markdown:
        print()
        print(table.markdown(results, options.markdown))
    chart.write(results, SIZES, options.chart)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Every scheduling policy against the same traffic, without a socket.",
    )
    parser.add_argument("--chart", type=Path, default=_DOCS / "policies.svg", metavar="FILE", help="(%(default)s)")
    parser.add_argument(
        "--markdown", type=int, choices=SIZES, metavar="N", help="print N workers' figures for the docs"
    )
    return parser


if __name__ == "__main__":
    main()
