"""Suggesting the right name."""

from __future__ import annotations

import pytest

from aiocluster._did_you_mean import did_you_mean


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("exti", "; did you mean 'exit'?"),
        ("wrkers", "; did you mean 'workers'?"),
        ("zzz", "; there are exit, online, workers"),
        (7, "; there are exit, online, workers"),
    ],
)
def test_the_nearest_name_is_suggested_or_all_are_listed(name: object, text: str) -> None:
    assert did_you_mean(name, {"workers", "exit", "online"}) == text
