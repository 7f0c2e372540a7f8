"""How two runs of a suite are compared."""

from __future__ import annotations

import json

from tests.downstream.outcomes import differences, read
from tests.downstream.suites import SUITES


def lines(*entries: dict[str, object]) -> list[str]:
    return [json.dumps(entry) for entry in entries]


def test_what_began_and_was_not_heard_of_again_has_crashed() -> None:
    run = read(
        lines({"test": "a", "outcome": "begun"}, {"test": "b", "outcome": "begun"}, {"test": "a", "outcome": "passed"})
    )
    assert run.tests == {"a": "passed", "b": "crashed"}
    assert run.shared is None


def test_a_failure_at_a_fixtures_end_is_a_failure() -> None:
    run = read(
        lines(
            {"test": "a", "outcome": "passed"},
            {"test": "a", "outcome": "failed", "text": "left open"},
            {"test": "b", "outcome": "failed", "text": "1"},
            {"test": "b", "outcome": "passed"},
            {"shared": {"tcp4": 2}},
        )
    )
    assert run.tests == {"a": "failed", "b": "failed"}
    assert run.texts == {"a": "left open", "b": "1"}
    assert run.shared == {"tcp4": 2}


def test_a_difference_is_what_fails_inside_alone() -> None:
    passed: list[dict[str, object]] = [{"test": name, "outcome": "passed"} for name in "abcd"]
    plain = read(lines(*passed, {"test": "e", "outcome": "failed"}))
    inside = read(
        lines(
            {"test": "a", "outcome": "passed"},
            {"test": "b", "outcome": "failed", "text": "why"},
            {"test": "c", "outcome": "skipped"},
            {"test": "e", "outcome": "failed"},
        )
    )
    found = differences(plain, inside, {"d": "it is not run here"})
    assert [(one.test, one.reason, one.text) for one in found] == [
        ("b", "", "why"),
        ("d", "it is not run here", "not run"),
    ]


def test_each_exception_has_a_reason() -> None:
    for suite in SUITES:
        assert all([*suite.differs.values(), *suite.left_out.values()])
