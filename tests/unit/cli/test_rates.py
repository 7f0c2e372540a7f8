"""What two descriptions say of the time between them, and which columns there is room for."""

from __future__ import annotations

from typing import Any

from aiocluster._cli.monitor.columns import COLUMNS, shown
from aiocluster._cli.monitor.rates import measured


def worker(pid: int, **more: Any) -> dict[str, Any]:
    return {
        "slot": 0, "name": None, "pid": pid, "state": "listening", "age": 1.0, "cpu_seconds": 1.0, "memory": 10,
        "busy": 0.5, "connections": 2, "taken": 5, "messages": 1, "restarts": 0, "last_exit": None, **more,
    }  # fmt: skip


def cluster(age: float, *workers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "shop", "pid": 7, "age": age, "cpu_seconds": 1.0, "memory": 5, "bounds": [1, 1],
        "workers": list(workers), **more,
    }  # fmt: skip


def test_rates_are_those_of_the_time_between() -> None:
    before = cluster(10.0, worker(1), worker(2))
    found = measured(before, cluster(12.0, worker(1, cpu_seconds=4.0, taken=9), worker(3, taken=2), cpu_seconds=1.5))
    assert [one["cpu"] for one in found["workers"]] == [1.5, None]
    assert found["totals"] == {
        "cpu": 1.75,
        "memory": 25,
        "busy": 0.5,
        "connections": 4,
        "connections_per_second": 3.0,
        "messages_per_second": 0.5,
    }


def test_workers_stand_in_the_order_of_their_slots() -> None:
    found = measured(None, cluster(1.0, worker(1, slot=2), worker(2, slot=None, name="jobs"), worker(3, slot=1)))
    assert [one["pid"] for one in found["workers"]] == [2, 3, 1]


def test_another_process_of_the_same_name_has_no_past() -> None:
    now = cluster(1.0, worker(1), pid=8)
    for before in (None, cluster(10.0, worker(1)), cluster(1.0, worker(1), pid=8)):
        found = measured(before, now)
        assert (found["cpu"], found["totals"]["connections_per_second"]) == (None, None)


def test_one_that_does_not_answer_has_no_totals() -> None:
    found = measured(cluster(1.0), {"name": "shop", "pid": 7, "state": "silent", "addresses": [], "workers": []})
    assert set(found["totals"].values()) == {None}


def test_columns_that_do_not_fit_are_left_out() -> None:
    rows = measured(None, cluster(1.0, worker(1)))["workers"]
    columns, _ = shown(rows, 1000, 2)
    assert columns == list(COLUMNS)
    columns, cells = shown(rows, 40, 2)
    assert [column.head for column in columns] == ["SLOT", "PID", "STATE", "CPU", "MEMORY"]
    assert cells == [["0", "1", "listening", "-", "10B"]]
    assert [column.head for column in shown(rows, 0, 2)[0]] == ["SLOT", "STATE", "CPU"]
