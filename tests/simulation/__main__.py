"""``python -m tests.simulation [--markdown]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from . import table
from .everything import FEW, IDEAL, SIZES, compare_policies, compare_windows

_IN_DOCS = 16  # workers, of the table of policies
_FEW_IN_DOCS = 4  # workers, of the table of windows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything, and print the tables. No chance is involved: two runs give the same."""
    options = _parser().parse_args(arguments)
    with ProcessPoolExecutor() as processes:
        policies = compare_policies(SIZES, processes.map)
        windows = compare_windows(FEW, processes.map)
    print(table.policies(policies, SIZES), table.windows(windows, FEW, IDEAL), sep="\n\n\n")
    if options.markdown:
        print()
        print(table.policies_markdown(policies, _IN_DOCS))
        print()
        print(table.windows_markdown(windows, _FEW_IN_DOCS, IDEAL))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation",
        description="Every policy, and every way to hand connections over, against the same traffic without a socket.",
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables of the docs")
    return parser


if __name__ == "__main__":
    main()
