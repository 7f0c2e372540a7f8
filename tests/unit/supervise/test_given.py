"""Settings that follow from others, whenever those are given."""

from __future__ import annotations

from typing import Any

import pytest

from aiocluster._supervise.given import Given, check_can_be_changed, check_weights


def completed(*changes: dict[str, Any]) -> Any:
    given = Given()
    for change in changes:
        given = given.changed(change)
    return given.completed()


@pytest.fixture(autouse=True)
def no_policy_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOCLUSTER_SCHEDULING", raising=False)


@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        ([{}], "least_busy"),
        ([{"weights": [1, 2]}], "weighted_round_robin"),
        ([{"weights": [1, 2], "scheduling": None}], "weighted_round_robin"),
        ([{"weights": [1, 2]}, {"args": ["a"]}], "weighted_round_robin"),
        ([{"weights": [1, 2]}, {"weights": None}], "least_busy"),
        ([{"weights": [1, 2]}, {"scheduling": "fair"}], "fair"),
        ([{"scheduling": "fair"}, {"weights": [1, 2]}], "fair"),
        ([{"scheduling": "random"}, {"weights": [1, 2], "scheduling": None}], "weighted_round_robin"),
    ],
)
def test_weights_choose_a_policy_unless_one_is_chosen(changes: list[dict[str, Any]], policy: str) -> None:
    assert completed(*changes).scheduling == policy


@pytest.mark.parametrize(
    "changes",
    [[{"scheduling": "random", "weights": [1]}], [{"weights": [1]}, {"scheduling": "random"}]],
)
def test_a_policy_without_weights_is_refused(changes: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"^weights have no effect with the policy 'random': take one of "):
        completed(*changes)


def test_so_is_one_that_comes_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOCLUSTER_SCHEDULING", "random")
    with pytest.raises(ValueError, match=r"^weights have no effect with the policy 'random'"):
        completed({"weights": [1]})


@pytest.mark.parametrize(
    ("changes", "heartbeat"),
    [
        ([{"hang_timeout": 2.0}], 0.5),
        ([{"hang_timeout": 60.0}], 1.0),
        ([{"heartbeat": 0.1}, {"hang_timeout": 2.0}], 0.1),
        ([{"hang_timeout": 2.0, "heartbeat": 3.0}], 0.5),
        ([{"hang_timeout": 2.0}, {"hang_timeout": None}], 1.0),
    ],
)
def test_workers_report_often_enough_for_the_hang_timeout(changes: list[dict[str, Any]], heartbeat: float) -> None:
    assert completed(*changes).heartbeat == heartbeat


def test_there_is_a_weight_for_each_worker() -> None:
    check_weights(completed({}), 2)
    check_weights(completed({"weights": [1, 2]}), 2)
    with pytest.raises(ValueError, match=r"^weights must be 3 numbers, one per worker, not \(1, 2\)$"):
        check_weights(completed({"weights": [1, 2]}), 3)


def test_what_counts_at_the_start_alone_is_refused_later() -> None:
    check_can_be_changed({"args": [], "drain_delay": 1.0, "no_such_setting": 1})
    for name in ("agents", "name", "systemd"):
        with pytest.raises(TypeError, match=rf"^setup\(\) can't change {name}, which counts when the cluster starts$"):
            check_can_be_changed({name: None})
    with pytest.raises(TypeError, match=r"; scale\(\) changes the number of workers$"):
        check_can_be_changed({"workers": 3})
