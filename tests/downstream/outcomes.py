"""What two runs of a suite came to, and where they differ. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class Run:
    """The outcomes of one run.

    Attributes:
        tests: Each test's outcome; "crashed" if it began and nothing more was heard.
        texts: What those that failed said.
        shared: How often the worker listened on a shared port, by kind; None in a plain run.
    """

    tests: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    shared: dict[str, int] | None = None

    def count(self, outcome: str) -> int:
        """How many tests have it."""
        return Counter(self.tests.values())[outcome]


def read(lines: Iterable[str]) -> Run:
    """The run that `recorder` wrote down."""
    run = Run()
    for line in map(json.loads, lines):
        if "shared" in line:
            run.shared = line["shared"]
            continue
        test, outcome = line["test"], line["outcome"]
        if outcome == "begun":
            run.tests.setdefault(test, "crashed")
        elif run.tests.get(test) != "failed":  # a failure of the fixture's end follows the test's own outcome
            run.tests[test] = outcome
        if line.get("text"):
            run.texts[test] = run.texts.get(test, "") + line["text"]
    return run


@dataclass(frozen=True)
class Difference:
    """A test that fails inside only.

    Attributes:
        test: Its name.
        reason: Why that is right, or says nothing; "" if it is a real difference.
        text: What it said.
    """

    test: str
    reason: str
    text: str


def differences(plain: Run, inside: Run, listed: Mapping[str, str]) -> list[Difference]:
    """The tests that fail, crash or are missing inside, and do not plainly."""
    found = []
    for test, outcome in sorted(plain.tests.items()):
        if outcome in ("failed", "crashed") or inside.tests.get(test) in ("passed", "skipped"):
            continue
        reason = next((why for name, why in listed.items() if name in test), "")
        found.append(Difference(test, reason, inside.texts.get(test, inside.tests.get(test, "not run"))))
    return found
