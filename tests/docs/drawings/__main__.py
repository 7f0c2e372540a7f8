"""Writes the pictures."""

from __future__ import annotations

from tests.docs.snippets import ROOT

from . import PICTURES

for name, draw in PICTURES.items():
    path = ROOT / "docs" / "images" / f"{name}.svg"
    path.write_text(draw().svg())
    print(path.relative_to(ROOT))
