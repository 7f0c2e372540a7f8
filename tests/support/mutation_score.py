"""What mutmut found, per file: ``python -m tests.support.mutation_score`` after ``mutmut run``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

FOUND = {1, 3, 24, 36, 152, 255, -24}  # a test failed, or the mutant ran into mutmut's time limit
SURVIVED = {0}
WITHOUT_TESTS = {5, 33}


def counts(results: Path) -> Counter[str]:
    """How many of a file's mutants were found, survived, or are run by no test."""
    codes = json.loads(results.read_text())["exit_code_by_key"].values()
    return Counter(
        "found"
        if code in FOUND
        else "survived"
        if code in SURVIVED
        else "without tests"
        if code in WITHOUT_TESTS
        else "not checked"
        for code in codes
    )


def line(name: str, count: Counter[str]) -> str:
    """One row of the table. The score is the share of mutants found among those that were checked."""
    checked = count.total() - count["not checked"]
    score = f"{count['found'] / checked:6.1%}" if checked else "      "
    rest = ", ".join(f"{count[what]} {what}" for what in ("survived", "without tests", "not checked") if count[what])
    return f"{name:45} {count.total():5} {score}  {rest}"


if __name__ == "__main__":
    root = Path("mutants")
    total: Counter[str] = Counter()
    print(f"{'file':45} {'all':>5} {'found':>6}")
    for path in sorted(root.rglob("*.meta")):
        if count := counts(path):
            total += count
            print(line(str(path.relative_to(root)).removesuffix(".meta"), count))
    print(line("total", total))
