"""The page by error text: each text that is aiocluster's own is in its source."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.snippets import DOCS, ROOT

PAGE = (DOCS / "troubleshooting.md").read_text()
HEADINGS = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
OWN = [heading.strip("`") for heading in HEADINGS if heading.startswith("`")]
OF_PYTHON = {  # what Python or click says in a line of aiocluster's
    "OSError: [Errno 98] Address already in use",
    "ModuleNotFoundError: No module named …",
    "No such option",
}

_PUT_TOGETHER = re.compile(  # where a text consists of several in the source
    r"…|: (?=killed|its target|it failed|it was|it has|Permission)|\[Errno.*| \((?:SIGKILL|exit code)"
)


def texts() -> str:
    """All texts in the source, one per line; … where a value is put in."""
    found: list[str] = []
    for path in sorted((ROOT / "aiocluster").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[a-z]|%\.\df", "…", node.value))
    return "\n".join(found)


TEXTS = texts()


@pytest.mark.parametrize("heading", [heading for heading in OWN if heading not in OF_PYTHON])
def test_a_text_is_in_the_source(heading: str) -> None:
    for piece in _PUT_TOGETHER.split(heading):
        assert piece.strip(" ;:)") in TEXTS or piece == "Permission denied", piece


def test_each_text_is_there_once() -> None:
    assert len(set(HEADINGS)) == len(HEADINGS)
    assert len(OWN) > 40
