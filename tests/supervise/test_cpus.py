"""How many CPUs this process may use, with control groups made of files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiocluster._supervise.cpus import _cgroup_quota, available_cpus


class Groups:
    """A fake of /sys/fs/cgroup and /proc/self/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "cgroup"
        self.own = folder / "self"
        self.root.mkdir()

    def put(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def quota(self) -> float | None:
        return _cgroup_quota(self.root, self.own)


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


def test_without_control_groups_there_is_no_quota(groups: Groups) -> None:
    assert groups.quota() is None
    groups.own.write_text("")
    assert groups.quota() is None
    groups.own.write_text("0::/\n")
    assert groups.quota() is None


def test_version_2(groups: Groups) -> None:
    groups.own.write_text("0::/app/web\n")
    groups.put("app/web/cpu.max", "150000 100000\n")
    assert groups.quota() == 1.5


def test_version_2_without_a_limit(groups: Groups) -> None:
    groups.own.write_text("0::/app\n")
    groups.put("app/cpu.max", "max 100000\n")
    assert groups.quota() is None


def test_version_2_takes_the_tightest_of_all_above(groups: Groups) -> None:
    groups.own.write_text("0::/a/b/c\n")
    groups.put("cpu.max", "800000 100000\n")
    groups.put("a/cpu.max", "200000 100000\n")
    groups.put("a/b/cpu.max", "max 100000\n")
    groups.put("a/b/c/cpu.max", "600000 100000\n")
    assert groups.quota() == 2.0


def test_in_a_container_the_limit_stands_at_the_root(groups: Groups) -> None:
    groups.own.write_text("0::/\n")
    groups.put("cpu.max", "50000 100000\n")
    assert groups.quota() == 0.5


def test_a_group_outside_the_namespace_has_the_limit_of_the_root(groups: Groups) -> None:
    groups.own.write_text("0::/../../other\n")
    groups.put("cpu.max", "300000 100000\n")
    assert groups.quota() == 3.0


def test_version_1(groups: Groups) -> None:
    groups.own.write_text("12:memory:/app\n4:cpu,cpuacct:/app\n1:name=systemd:/x\n")
    groups.put("cpu/app/cpu.cfs_quota_us", "250000\n")
    groups.put("cpu/app/cpu.cfs_period_us", "100000\n")
    groups.put("memory/app/cpu.cfs_quota_us", "1\n")
    groups.put("memory/app/cpu.cfs_period_us", "1000\n")
    assert groups.quota() == 2.5


def test_version_1_without_a_limit(groups: Groups) -> None:
    groups.own.write_text("4:cpu,cpuacct:/app\n")
    groups.put("cpu/app/cpu.cfs_quota_us", "-1\n")
    groups.put("cpu/app/cpu.cfs_period_us", "100000\n")
    assert groups.quota() is None


def test_version_1_in_a_container_whose_path_is_the_hosts(groups: Groups) -> None:
    groups.own.write_text("4:cpu,cpuacct:/docker/0123456789ab\n")
    groups.put("cpu/cpu.cfs_quota_us", "100000\n")
    groups.put("cpu/cpu.cfs_period_us", "50000\n")
    assert groups.quota() == 2.0


def test_both_versions_at_once(groups: Groups) -> None:
    groups.own.write_text("4:cpu:/app\n0::/app\n")
    groups.put("cpu/app/cpu.cfs_quota_us", "400000\n")
    groups.put("cpu/app/cpu.cfs_period_us", "100000\n")
    groups.put("app/cpu.max", "300000 100000\n")
    assert groups.quota() == 3.0


@pytest.mark.parametrize("text", ["", "max", "x y", "100000", "1 2 3", "100000 0"])
def test_what_cannot_be_read_is_no_limit(groups: Groups, text: str) -> None:
    groups.own.write_text("0::/\n")
    groups.put("cpu.max", text)
    assert groups.quota() is None


def test_a_group_with_a_colon_in_its_name(groups: Groups) -> None:
    groups.own.write_text("0::/a:b\n")
    groups.put("a:b/cpu.max", "100000 100000\n")
    assert groups.quota() == 1.0


def test_a_quota_below_one_cpu_is_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocluster._supervise.cpus._cgroup_quota", lambda: 0.25)
    assert available_cpus() == 1


def test_a_quota_beyond_the_cpus_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiocluster._supervise.cpus._cgroup_quota", lambda: None)
    all_of_them = available_cpus()
    monkeypatch.setattr("aiocluster._supervise.cpus._cgroup_quota", lambda: 4096.0)
    assert available_cpus() == all_of_them >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_the_affinity_mask_counts() -> None:
    code = (
        "import os\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from aiocluster._supervise.cpus import available_cpus\n"
        "print(available_cpus())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "1\n"
