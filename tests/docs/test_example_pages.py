"""Each example has a page, made from its docstring; what the page shows is run with all other pages."""

from __future__ import annotations

import re

from tests.docs.example_pages import SUBJECTS, docstring_of, pages
from tests.docs.snippets import ROOT
from tests.support.serving import EXAMPLES


def test_the_pages_are_up_to_date() -> None:
    for path, text in pages().items():
        assert path.read_text() == text, "python -m tests.docs.example_pages"


def test_each_has_one_page() -> None:
    named = [name for names in SUBJECTS.values() for name in names]
    assert sorted(named) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_each_says_how_to_run_it() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert re.search(rf"^    \$ .*\b{path.name}$", docstring_of(path), re.MULTILINE), path.name
        assert len(docstring_of(path).partition("\n")[0]) < 60, f"{path.name}: the first line is a title"


def test_each_is_named_in_a_test() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [path.name for path in sorted(EXAMPLES.glob("*.py")) if f'"{path.name}"' not in tests] == []
