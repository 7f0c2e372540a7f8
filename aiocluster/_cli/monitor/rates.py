"""What two descriptions of a cluster, one later than the other, say of the time between them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Description = dict[str, Any]
"""What a cluster tells of itself, see `_control.clusters.Known.describe`."""


def measured(before: Description | None, now: Description) -> Description:
    """Returns a description with what can be computed from it.

    Each worker, and the cluster for its primary, gets ``cpu``: the processors it used, 1.0 is one of them. The cluster
    gets ``totals``: of all processes ``cpu`` and ``memory`` (bytes); of its workers and agents ``busy`` (the mean),
    ``connections``, ``connections_per_second`` (taken) and ``messages_per_second``. What is not known is None. Workers
    stand in the order of their slots, agents first.

    Args:
        before: An earlier description of the same cluster, if there is one.
        now: The description.
    """
    if before is None or before.get("pid") != now.get("pid") or now.get("pid") is None:
        before = None
    seconds = now["age"] - before["age"] if before is not None and "age" in now and "age" in before else 0.0
    earlier = {worker["pid"]: worker for worker in before["workers"]} if before is not None and seconds > 0 else {}
    workers = [{**worker, "cpu": _cpu(earlier.get(worker["pid"]), worker, seconds)} for worker in now["workers"]]
    workers.sort(key=lambda worker: (-1 if worker["slot"] is None else worker["slot"], worker["age"]))
    own_cpu = _cpu(before, now, seconds)
    is_told = "bounds" in now  # by the cluster itself, which answers
    return {
        **now,
        "cpu": own_cpu,
        "workers": workers,
        "totals": {
            "cpu": _sum([own_cpu, *(worker["cpu"] for worker in workers)]),
            "memory": _sum([now.get("memory"), *(worker["memory"] for worker in workers)]),
            "busy": _mean(worker["busy"] for worker in workers),
            "connections": sum(worker["connections"] for worker in workers) if is_told else None,
            "connections_per_second": _rate("taken", earlier, workers, seconds),
            "messages_per_second": _rate("messages", earlier, workers, seconds),
        },
    }


def _cpu(before: Description | None, now: Description, seconds: float) -> float | None:
    if before is None or seconds <= 0:
        return None
    first: float | None = before.get("cpu_seconds")
    last: float | None = now.get("cpu_seconds")
    return None if first is None or last is None else max(0.0, (last - first) / seconds)


def _rate(what: str, earlier: dict[int, Description], workers: list[Description], seconds: float) -> float | None:
    """Returns how many a second. What workers did that have ended meanwhile is not known."""
    if seconds <= 0:
        return None
    return float(sum(worker[what] - earlier.get(worker["pid"], {what: 0})[what] for worker in workers)) / seconds


def _sum(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _mean(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) / len(known) if known else None
