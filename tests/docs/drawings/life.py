"""A worker's life: its states, and how it gets from one to another."""

from __future__ import annotations

from .svg import Drawing

_X, _WIDE, _HIGH, _APART = 120, 340, 54, 86
_LEAVING, _FAILED = 150, 178


def draw() -> Drawing:
    drawing = Drawing(
        "A worker is starting, then online, then listening. When it is told to leave, it is disconnecting; if an"
        " exception ends its work, it is failed. Then it is disconnected, and at last dead. If it is killed, it is"
        " dead at once.",
        520,
    )
    middle = _X + _WIDE / 2
    for i, (name, what) in enumerate(
        (
            ("starting", "the process exists"),
            ("online", "has loaded your target, runs it"),
            ("listening", "has asked for its first port"),
        )
    ):
        drawing.box(_X, 14 + i * _APART, _WIDE, _HIGH, "worker", f"{name}\n{what}")
        drawing.line((_X, 41 + i * _APART), (54, 41 + i * _APART))
        if i:
            drawing.arrow((middle, 14 + _HIGH + (i - 1) * _APART), (middle, 12 + i * _APART))
    left, right = _X + _LEAVING / 2, _X + _WIDE - _FAILED / 2
    y = 14 + 2 * _APART + _HIGH
    drawing.arrow((left, y), (left, y + 46))
    drawing.words(left + 8, y + 28, "told to leave", muted=True)
    drawing.arrow((right, y), (right, y + 46))
    drawing.words(right + 8, y + 28, "exception", muted=True)
    drawing.box(_X, y + 48, _LEAVING, 75, "agent", "disconnecting\nfinishes what\nit has")
    drawing.box(_X + _WIDE - _FAILED, y + 48, _FAILED, 75, "bad", "failed\nfinishes what it has,\nis replaced at once")
    y += 48 + 75
    drawing.arrow((left, y), (left, y + 26))
    drawing.arrow((right, y), (right, y + 26))
    drawing.box(_X, y + 28, _WIDE, _HIGH, "client", "disconnected\nits channel is closed")
    y += 28 + _HIGH
    drawing.arrow((middle, y), (middle, y + 30))
    drawing.box(_X, y + 32, _WIDE, 36, "client", "dead")
    drawing.words(10, 34 + 3 * _APART, "killed,", muted=True)
    drawing.words(10, 55 + 3 * _APART, "exits", muted=True)
    drawing.line((54, 41), (54, 18 + 3 * _APART))
    drawing.arrow((54, 62 + 3 * _APART), (54, y + 50), (_X - 2, y + 50))
    return drawing
