"""Writes the pictures."""

from __future__ import annotations

from . import IMAGES, PICTURES

for name, draw in PICTURES.items():
    (IMAGES / f"{name}.svg").write_text(draw().svg())
    print(f"{name}.svg")
