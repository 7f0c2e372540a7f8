"""Each promise of the page names tests that show it, and they exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.snippets import ROOT

PAGE = (ROOT / "docs" / "explanation" / "promises.md").read_text()
PROMISES = PAGE.split("\n### ")[1:]
NAMED = sorted(set(re.findall(r"`(tests/[^`]*::[^`]*)`", PAGE)))


@pytest.mark.parametrize("promise", PROMISES, ids=[one.splitlines()[0] for one in PROMISES])
def test_a_promise_names_what_shows_it(promise: str) -> None:
    assert re.search(r"^Shown by `tests/", promise, re.MULTILINE)


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name: str) -> None:
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert function in {one.name for one in tree.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
