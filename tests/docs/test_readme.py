"""The README is also shown by package indexes: each link and picture in it must be found from anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.snippets import ROOT

PAGES = "https://github.com/aiocluster/aiocluster/blob/main/"
PICTURES = "https://raw.githubusercontent.com/aiocluster/aiocluster/main/"
LINKS = re.findall(
    r"(!?)\[[^]]*\]\(([^)]+)\)", re.sub(r"```.*?```", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)
)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("picture", "link"), LINKS)
def test_link(picture: str, link: str) -> None:
    prefix = PICTURES if picture else PAGES
    assert link.startswith(prefix)
    path, _, anchor = link.removeprefix(prefix).partition("#")
    assert (ROOT / path).is_file()
    if anchor:
        assert anchor in anchors(ROOT / path)


def test_there_are_links_and_pictures() -> None:
    assert len([link for picture, link in LINKS if picture]) == 3
    assert len([link for picture, link in LINKS if not picture]) > 20
