"""A profile as a flame graph: an SVG that needs no program but a browser. Pure.

The outermost calls are at the top (an icicle graph), each as wide as its share of the samples; equal ones beside each
other are one. The whole text of one shows when the pointer is on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

Frame = tuple[str, str, int]

_WIDTH = 1200.0  # pixels
_ROW = 18  # pixels
_TOP = 40  # pixels
_LETTER = 7.0  # pixels: a letter of the font, about
_NARROWEST = 0.3  # pixels; what is narrower is not drawn


@dataclass(slots=True)
class _Call:
    count: int = 0
    calls: dict[Frame, _Call] = field(default_factory=dict)


def flame_graph(title: str, counts: Mapping[tuple[Frame, ...], int]) -> str:
    """Returns the SVG.

    Args:
        title: What stands above it.
        counts: How often each stack was found, outermost frame first: the function, its file (empty for what is no
            function) and line.
    """
    root = _Call()
    for stack, count in counts.items():
        call = root
        call.count += count
        for frame in stack:
            call = call.calls.setdefault(frame, _Call())
            call.count += count
    rows = [*_drawn(root, 0.0, 0, root.count)]
    height = _TOP + _ROW * (1 + max((depth for depth, _ in rows), default=0)) + 10
    size = f'viewBox="0 0 {_WIDTH:g} {height}" width="{_WIDTH:g}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="12">',
            f"<title>{_text(title)}</title>",
            '<rect width="100%" height="100%" fill="#fdfdfb"/>',
            f'<text x="8" y="24" font-size="15">{_text(title)}</text>',
            *(line for _, line in rows),
            "</svg>\n",
        ]
    )


def _drawn(call: _Call, left: float, depth: int, whole: int) -> Iterator[tuple[int, str]]:
    """Draws what a call has called, each with its depth."""
    for frame, inner in sorted(call.calls.items()):
        width = _WIDTH * inner.count / whole
        if width >= _NARROWEST:
            yield depth, _rectangle(frame, left, depth, width, inner.count, whole)
            yield from _drawn(inner, left, depth + 1, whole)
        left += width


def _rectangle(frame: Frame, left: float, depth: int, width: float, count: int, whole: int) -> str:
    name, file, line = frame
    place = f"{name} ({file}:{line})" if file else name
    top = _TOP + depth * _ROW
    room = int((width - 6) / _LETTER)
    size = f'x="{left:.2f}" y="{top}" width="{width:.2f}" height="{_ROW - 1}"'
    label = "" if room < 3 else name if len(name) <= room else f"{name[: room - 1]}…"
    return (
        f"<g><title>{_text(place)}: {count} samples, {100 * count / whole:.1f}%</title>"
        f'<rect {size} rx="1" fill="{_colour(file or name)}"/>'
        + (f'<text x="{left + 3:.2f}" y="{top + 13}">{_text(label)}</text>' if label else "")
        + "</g>"
    )


def _colour(file: str) -> str:
    """One colour for each file, all of them light."""
    return f"hsl({crc32(file.encode(errors='replace')) % 360}, 65%, 78%)"


def _text(text: str) -> str:
    """Returns a text as XML carries it, which has no characters of control."""
    return escape("".join(letter if letter.isprintable() else "?" for letter in text))
