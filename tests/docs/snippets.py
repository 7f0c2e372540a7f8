"""The code blocks of a page of the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GUIDE = ROOT / "docs" / "guide"

_BLOCK = re.compile(
    r"""
    (?:^<!--\ (?P<note>[^>]*)\ -->\n\n)?
    ^```(?P<language>\w+)(?:\ title="(?P<title>[^"]*)")?\n
    (?P<text>.*?)
    ^```$
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: What stands behind the fence, such as ``python``.
        title: The name it has in the page; "" if it has none.
        note: What a comment says right above it; "" if there is none.
        text: What is in it.
        heading: The heading it stands under.
    """

    language: str
    title: str
    note: str
    text: str
    heading: str


def blocks(page: str) -> list[Block]:
    """All of a page of the guide, in order."""
    text = (GUIDE / page).read_text()
    headings = [(found.start(), found[1]) for found in re.finditer(r"^#+ (.*)$", text, re.MULTILINE)]
    return [
        Block(
            found["language"],
            found["title"] or "",
            found["note"] or "",
            found["text"],
            [heading for start, heading in headings if start < found.start()][-1],
        )
        for found in _BLOCK.finditer(text)
    ]


def titled(page: str, title: str) -> str:
    """The text of the one block of a page that has that title."""
    (found,) = (block.text for block in blocks(page) if block.title == title)
    return found
