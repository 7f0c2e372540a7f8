"""The tables of docs/reference/parity.md and docs/parity_tests.md are whole, and the tests that they name exist."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = ROOT / "docs" / "reference" / "parity.md"
TESTS = ROOT / "docs" / "reference" / "parity_tests.md"
VERDICTS = {"same", "different", "not applicable"}


@dataclass(frozen=True)
class Row:
    """One line of a table: what Node has, what there is here, and how the two compare."""

    place: str
    cells: tuple[str, ...]

    def __str__(self) -> str:
        return self.place

    @property
    def node(self) -> str:
        return self.cells[0]

    @property
    def verdict(self) -> str:
        return self.cells[2]

    @property
    def tests(self) -> list[str]:
        return re.findall(r"`(tests/[^`]*)`", self.cells[3])


def rows(page: Path) -> list[Row]:
    """The rows of all tables of a page, without their heads."""
    found = []
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        is_head = number < len(lines) and lines[number].startswith("| ---")
        if line.startswith("|") and not line.startswith("| ---") and not is_head:
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            found.append(Row(f"{page.name}:{number}", tuple(cell.strip() for cell in cells)))
    return found


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of a module's functions."""
    body = ast.parse(path.read_text()).body
    return frozenset(one.name for one in body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)))


ALL = [*rows(MEMBERS), *rows(TESTS)]


@pytest.mark.parametrize("page", [MEMBERS, TESTS], ids=lambda page: page.name)
def test_a_page_has_rows(page: Path) -> None:
    assert len(rows(page)) > 50


@pytest.mark.parametrize("row", ALL, ids=str)
def test_a_row_is_whole(row: Row) -> None:
    assert len(row.cells) == 4
    assert all(row.cells)
    assert row.verdict in VERDICTS
    assert row.tests or row.verdict != "same"


@pytest.mark.parametrize("name", sorted({name for row in ALL for name in row.tests}))
def test_a_named_test_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert function.startswith("test_")
    assert function in functions(ROOT / path)


def test_each_of_nodes_tests_has_one_row() -> None:
    counts = Counter(row.node for row in rows(TESTS))
    assert [name for name, count in counts.items() if count > 1] == []
    assert all(re.fullmatch(r"`test-(cluster|child-process)-[\w-]+\.m?js`", name) for name in counts)
