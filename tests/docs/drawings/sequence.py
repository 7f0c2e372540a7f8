"""What is needed for pictures of who tells whom what, from top to bottom."""

from __future__ import annotations

from .svg import LEADING, WIDTH, Drawing, Kind

_HEAD = 34
_STEP = 52
_TOP = 14


class Sequence:
    """Some processes side by side, and what goes between them.

    Args:
        title: What the picture shows, for those who can't see it.
        lanes: Who takes part, from left to right.
        height: Of the picture.
    """

    def __init__(self, title: str, lanes: dict[str, Kind], height: int) -> None:
        self.drawing = Drawing(title, height)
        each = WIDTH / len(lanes)
        self._x = {name: (i + 0.5) * each for i, name in enumerate(lanes)}
        self._kinds = lanes
        wide = min(each - 20, 116)
        for name, x in self._x.items():
            self.drawing.line((x, _TOP + _HEAD), (x, height - 14), thin=True)
            self.drawing.box(x - wide / 2, _TOP, wide, _HEAD, lanes[name], name)
        self._y = float(_TOP + _HEAD)

    def arrow(self, sender: str, receiver: str, words: str, *, both: bool = False) -> None:
        """Something goes from one to another; the words stand above it."""
        lines = words.split("\n")
        self._y += _STEP + LEADING * (len(lines) - 1)
        start, end = self._x[sender], self._x[receiver]
        towards = 1 if end > start else -1
        self.drawing.backed_words((start + end) / 2, self._y - 10 - LEADING * (len(lines) - 1), words)
        self.drawing.arrow((start + 3 * towards, self._y), (end - 3 * towards, self._y), both=both)

    def note(self, name: str, words: str, wide: float) -> None:
        """Somebody does something."""
        lines = words.count("\n") + 1
        high = 16 + LEADING * lines
        x = min(max(self._x[name], wide / 2 + 8), WIDTH - wide / 2 - 8)
        self.drawing.box(x - wide / 2, self._y + 14, wide, high, self._kinds[name])
        self.drawing.words(x, self._y + 14 + 24, words, anchor="middle")
        self._y += 14 + high
