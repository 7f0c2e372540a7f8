"""``python -m tests.benchmarks [P1 P2 ...] [--rounds N] [--json FILE] [--chart FILE]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from . import (
    chart,
    checkout,
    cost,
    document,
    edited,
    load,
    p1_one_way,
    p2_round_trip,
    p3_between_workers,
    p4_connections,
    p5_fork,
    p6_handles,
    p7_memory,
    p8_keep_alive,
    p9_tail,
    p9k_staying,
    p10_growth,
    p11_publish,
    p12_state,
    p13_real_app,
    p15_burst,
    peers,
    replacing,
    table,
    wording,
)
from .measurement import Measurement, Sample
from .rounds import Result, run

MEASUREMENTS = {
    measurement.name: measurement
    for measurement in (
        p1_one_way.MEASUREMENT,
        p2_round_trip.MEASUREMENT,
        p3_between_workers.MEASUREMENT,
        p4_connections.MEASUREMENT,
        p5_fork.MEASUREMENT,
        p6_handles.MEASUREMENT,
        p7_memory.MEASUREMENT,
        p8_keep_alive.MEASUREMENT,
        p8_keep_alive.ONE_WORKER,
        p8_keep_alive.LATENCY,
        p9_tail.MEASUREMENT,
        p9k_staying.MEASUREMENT,
        p10_growth.CONNECTIONS,
        p10_growth.ROUND_ROBIN,
        p10_growth.ROUTED,
        p10_growth.IDLE,
        p11_publish.ONE,
        p11_publish.FOUR,
        p11_publish.MANY,
        p11_publish.LATENCY,
        *p12_state.ALL,
        p12_state.MIRRORED,
        p13_real_app.EIGHT,
        p13_real_app.FOUR,
        p15_burst.MEASUREMENT,
        p15_burst.NEW,
        p15_burst.REST,
        replacing.RESPAWN,
        replacing.RELOAD,
        replacing.FORKED,
        edited.MEASUREMENT,
    )
}
ON_REQUEST = {
    measurement.name: measurement
    for measurement in (p9_tail.OF_POLICIES, p9k_staying.OF_POLICIES, load.MEASUREMENT, *cost.ALL)
}
"""These take long, or tell more of the machine than of programs, and are only taken by name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write what was asked for.

    Returns:
        1 if a contender broke, else 0. A goal that isn't met breaks nothing: it is a figure.
    """
    options = _parser().parse_args(arguments)
    if options.chart:
        try:
            chart.writable(options.chart)
        except chart.ChartError as error:
            print(error, file=sys.stderr)
            return 2
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the programs have their bytecode, as an installed package has
    # The blocks that end the measured programs are left on SIGTERM too.
    signal.signal(signal.SIGTERM, _exit)
    measurements = [one for named in options.measurements for one in named] or list(MEASUREMENTS.values())
    with ExitStack() as using:
        if options.before:
            try:
                before = using.enter_context(checkout.another(options.before))
            except FileNotFoundError as error:
                print(error, file=sys.stderr)
                return 2
            measurements = [measurement.beside(before) for measurement in measurements]
        results = [
            run(measurement, options.rounds, missing=peers.missing, watch=_progress) for measurement in measurements
        ]
    print(table.table(results, options.rounds))
    if options.markdown:
        print("\n" + table.markdown(results))
    if options.json:
        options.json.write_text(json.dumps(_document(results, options.rounds), indent=2) + "\n")
    if options.chart:
        chart.write(results, options.chart)
    return 1 if any(result.failed for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure aiocluster against Node's cluster, nginx and the kernel's own floor.",
        epilog="; ".join(f"{m.name}: {m.title}" for m in (*MEASUREMENTS.values(), *ON_REQUEST.values())),
    )
    parser.add_argument(
        "measurements",
        nargs="*",
        type=_measurements,
        metavar="P",
        help=f"which to take (all but {', '.join(ON_REQUEST)})",
    )
    parser.add_argument("--rounds", type=_positive, default=5, help="how many of each (5)")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="FOLDER",
        help="measure aiocluster of this checkout too, such as a git worktree of an earlier commit, in turn",
    )
    parser.add_argument("--markdown", action="store_true", help="what has several figures as the docs have it too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the ratios: .svg or .png")
    return parser


def _measurements(text: str) -> tuple[Measurement, ...]:
    known = {**{name: (one,) for name, one in {**MEASUREMENTS, **ON_REQUEST}.items()}, "COST": cost.ALL}
    if (named := known.get(text.upper())) is None:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(known)}")
    return named


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return number


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def _progress(measurement: Measurement, round_: int, name: str, sample: Sample) -> None:
    figure = wording.quantity(sample.value, measurement.unit)
    print(f"{measurement.name} round {round_}: {name}: {figure}", file=sys.stderr, flush=True)


def _document(results: list[Result], rounds: int) -> dict[str, Any]:
    return {
        "environment": {
            "python": platform.python_version(),
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            **{program: peers.version(program) for program in ("node", "nginx", "wrk")},
        },
        "rounds": rounds,
        "measurements": document.data(results),
    }


if __name__ == "__main__":
    sys.exit(main())
