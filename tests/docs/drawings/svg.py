"""What pictures are made of: boxes, arrows and words, as SVG.

A picture stands on a card of its own, so it is legible wherever it is shown. The card follows the system's choice of
light or dark. All is 480 wide at most: on a phone the words are still eleven pixels high.
"""

from __future__ import annotations

from typing import Literal
from xml.sax.saxutils import escape

WIDTH = 480
SIZE = 16
SMALL = 15  # the smallest that is legible on a phone
LEADING = 21

Kind = Literal["client", "primary", "worker", "agent", "state", "bad"]
Anchor = Literal["start", "middle", "end"]

_LIGHT = {
    "card": ("#ffffff", "#d0d7de"),
    "client": ("#f6f8fa", "#59636e"),
    "primary": ("#ddf4ff", "#0969da"),
    "worker": ("#dafbe1", "#1a7f37"),
    "agent": ("#fff1e5", "#bc4c00"),
    "state": ("#fbefff", "#8250df"),
    "bad": ("#ffebe9", "#cf222e"),
}
_DARK = {
    "card": ("#161b22", "#3d444d"),
    "client": ("#212830", "#9198a1"),
    "primary": ("#10233d", "#4493f8"),
    "worker": ("#12261e", "#3fb950"),
    "agent": ("#2b1d12", "#f0883e"),
    "state": ("#271c3d", "#ab7df8"),
    "bad": ("#2d1618", "#f85149"),
}


def _style(colours: dict[str, tuple[str, str]], ink: str, muted: str) -> str:
    boxes = "".join(f".{name}{{fill:{fill};stroke:{stroke}}}" for name, (fill, stroke) in colours.items())
    boxes += "".join(f".{name}.solid{{fill:{stroke}}}" for name, (_, stroke) in colours.items())
    card, edge = colours["card"]
    boxes += f".grid{{stroke:{edge}}}.back{{fill:{card}}}"
    words = f"text{{fill:{ink}}}.muted{{fill:{muted}}}"
    return f"{words}.line{{stroke:{muted}}}{boxes}.ink{{stroke:{ink}}}.tip{{fill:{muted}}}"


STYLE = (
    f"text{{font:{SIZE}px system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}}.small{{font-size:{SMALL}px}}"
    ".bold{font-weight:600}.line{fill:none;stroke-width:1.5}.thin{stroke-dasharray:4 4}"
    + _style(_LIGHT, "#1f2328", "#59636e")
    + f"@media(prefers-color-scheme:dark){{{_style(_DARK, '#f0f6fc', '#9198a1')}}}"
)


class Drawing:
    """A picture that is being drawn, from top to bottom.

    Args:
        title: What it shows, for those who can't see it.
        height: In pixels; the width is always the same.
    """

    def __init__(self, title: str, height: int) -> None:
        self._title = title
        self._height = height
        self._shapes: list[str] = []

    def box(self, x: float, y: float, width: float, height: float, kind: Kind, words: str = "") -> None:
        """A box, with its first line in bold."""
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        self._shapes.append(f'<rect class="{kind}" {place} rx="6" stroke-width="1.5"/>')
        lines = words.split("\n") if words else []
        top = y + height / 2 - LEADING * (len(lines) - 1) / 2 + 5.5
        for i, line in enumerate(lines):
            self.words(x + width / 2, top + i * LEADING, line, anchor="middle", bold=i == 0, muted=i > 0)

    def words(
        self, x: float, y: float, text: str, *, anchor: Anchor = "start", bold: bool = False, muted: bool = False
    ) -> None:
        """One or more lines of words; y is the base of the first."""
        style = "bold" if bold else "small"
        if muted:
            style += " muted"
        for i, line in enumerate(text.split("\n")):
            self._shapes.append(
                f'<text class="{style}" x="{x:g}" y="{y + i * LEADING:g}" text-anchor="{anchor}">{escape(line)}</text>'
            )

    def backed_words(self, x: float, y: float, text: str) -> None:
        """Words in the middle of what lies under them."""
        for i, line in enumerate(text.split("\n")):
            wide = len(line) * SMALL * 0.54 + 6
            self._back(x - wide / 2, y + i * LEADING, wide)
        self.words(x, y, text, anchor="middle")

    def backed_label(self, x: float, y: float, text: str) -> None:
        """Words in bold, to the right of a place, above what lies under them."""
        self._back(x, y, len(text) * SIZE * 0.58 + 4)
        self.words(x, y, text, bold=True)

    def backed_figure(self, x: float, y: float, text: str) -> None:
        """Words to the left of a place."""
        wide = len(text) * SMALL * 0.54
        self._back(x - wide, y, wide)
        self.words(x, y, text, anchor="end")

    def _back(self, x: float, y: float, wide: float) -> None:
        self._shapes.append(f'<rect class="back" x="{x:g}" y="{y - 14:g}" width="{wide:g}" height="{LEADING - 3}"/>')

    def bar(self, x: float, y: float, width: float, height: float, kind: Kind) -> None:
        """A bar of a chart."""
        place = f'x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}"'
        self._shapes.append(f'<rect class="{kind} solid" {place}/>')

    def line(self, *points: tuple[float, float], thin: bool = False, style: Literal["", "ink", "grid"] = "") -> None:
        path = " ".join(f"{x:.4g},{y:.4g}" for x, y in points)
        kind = f"line{' thin' * thin} {style}".strip()
        self._shapes.append(f'<polyline class="{kind}" points="{path}"/>')

    def arrow(self, *points: tuple[float, float], both: bool = False, thin: bool = False) -> None:
        """A line with a tip at its end, or at both ends."""
        self.line(*points, thin=thin)
        self._tip(points[-2], points[-1])
        if both:
            self._tip(points[1], points[0])

    def _tip(self, before: tuple[float, float], at: tuple[float, float]) -> None:
        (x0, y0), (x, y) = before, at
        length = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5
        dx, dy = (x - x0) / length * 8, (y - y0) / length * 8
        corners = (x, y), (x - dx - dy / 2, y - dy + dx / 2), (x - dx + dy / 2, y - dy - dx / 2)
        self._shapes.append(f'<polygon class="tip" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}"/>')

    def svg(self) -> str:
        size = f'width="{WIDTH}" height="{self._height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {WIDTH} {self._height}" role="img">'
        card = f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{self._height - 1}" rx="8"/>'
        title = f"<title>{escape(self._title)}</title>"
        return "\n".join([head, title, f"<style>{STYLE}</style>", card, *self._shapes, "</svg>\n"])
