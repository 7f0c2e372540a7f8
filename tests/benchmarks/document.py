"""Results as JSON has them: every round's figures, not only the medians."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from .rounds import Ratio, Result


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
                    **_processes_data(result, name),
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


def _processes_data(result: Result, name: str) -> dict[str, Any]:
    """Of one operation, by process."""
    written: dict[str, dict[str, Any]] = {}
    for process in result.processes(name):
        written[process] = {}
        if (cpu := result.cpu(name, process)) is not None:
            rounds = [sample.cpu[process] for sample in result.samples[name]]
            written[process]["cpu"] = {**asdict(cpu), "rounds": rounds}
        if (beside := result.cpu_beside_before(name, process)) is not None:
            written[process]["cpu_beside_before"] = asdict(beside)
        if (calls := result.calls.get(name, {}).get(process)) is not None:
            written[process]["calls"] = asdict(calls)
    return {"per_operation": written} if written else {}


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
