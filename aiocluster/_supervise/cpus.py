"""How many CPUs this process may use: the number of workers for ``workers="auto"``."""

from __future__ import annotations

import os
from pathlib import Path


def available_cpus() -> int:
    """Returns the number of CPUs in the affinity mask, limited by the CPU quota of the control group; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, count if quota is None else min(count, int(quota)))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Returns the lowest CPU quota of this process's control groups, in CPUs; None without one (cgroups(7))."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        folder = root if not controllers else root / "cpu"
        if controllers and "cpu" not in controllers.split(","):
            continue
        path = folder / name.lstrip("/")
        for group in (path, *path.parents):
            quota = _quota_of(group, is_v2=not controllers)
            if quota is not None:
                quotas.append(quota)
            if group == folder:
                break
    return min(quotas, default=None)


def _quota_of(group: Path, *, is_v2: bool) -> float | None:
    try:
        if is_v2:
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
