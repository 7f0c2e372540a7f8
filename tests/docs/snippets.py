"""The code blocks of a page of the documentation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"

_PART = re.compile(
    r"""
    (?:^<!--\ (?P<note>(?:(?!-->).)*?)\ ?-->\n\n?)?
    ^(?P<indent>[ ]*)```(?P<language>\w+)(?:\ title="(?P<title>[^"]*)")?[^\n]*\n
    (?P<text>.*?)
    ^(?P=indent)```$
    |
    ^<!--\ (?P<order>(?:(?!-->).)*?)\ ?-->$
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
        line: Where it begins.
    """

    language: str
    title: str
    note: str
    text: str
    heading: str
    line: int = 0


@dataclass(frozen=True)
class Order:
    """A comment that stands alone, such as ``<!-- ctrl-c server -->``."""

    text: str
    line: int


def parts(page: str) -> list[Block | Order]:
    """All blocks of a page and the comments between them, in order; `page` is its path in the folder docs."""
    text = (DOCS / page).read_text()
    headings = [(found.start(), found[1]) for found in re.finditer(r"^#+ (.*)$", text, re.MULTILINE)]
    found: list[Block | Order] = []
    for part in _PART.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        if part["order"] is not None:
            found.append(Order(part["order"].strip(), line))
            continue
        under = [heading for start, heading in headings if start < part.start()] or [""]
        indent = re.compile(rf"^{part['indent']}", re.MULTILINE)
        found.append(
            Block(
                part["language"],
                part["title"] or "",
                (part["note"] or "").strip(),
                indent.sub("", part["text"]) if part["indent"] else part["text"],
                under[-1],
                line,
            )
        )
    return found


def blocks(page: str) -> list[Block]:
    """All of a page, in order; `page` is its path in the folder docs."""
    return [part for part in parts(page) if isinstance(part, Block)]


def titled(page: str, title: str) -> str:
    """The text of the one block of a page that has that title."""
    (found,) = (block.text for block in blocks(page) if block.title == title)
    return found
