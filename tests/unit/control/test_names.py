"""What a cluster is called that was given no name."""

from __future__ import annotations

import pytest

from aiocluster import Settings
from aiocluster._control.names import named_after


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("shop:app", "shop"),
        ("shop.web:app", "shop.web"),
        ("uvicorn", "uvicorn"),
        ("http.server", "http.server"),
        ("app.py", "app"),
        ("path/to/my app.py", "my-app"),
        ("./_app_.py", "app"),
        ("a:b/app.py", "app"),
        ("x" * 100, "x" * 56),
        ("ä.py", "cluster"),
        ("", "cluster"),
    ],
)
def test_a_name_is_always_a_valid_one(target: str, name: str) -> None:
    assert named_after(target) == name
    Settings(name=name)
