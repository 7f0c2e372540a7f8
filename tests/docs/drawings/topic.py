"""What is published to a topic, and whom it reaches."""

from __future__ import annotations

from .svg import WIDTH, Drawing

_EDGE = 14
_GAP = 10


def draw() -> Drawing:
    drawing = Drawing(
        "A worker publishes to a topic. The primary sends the message to those processes that have subscribed to the"
        " topic, and to no others.",
        300,
    )
    drawing.box(WIDTH / 2 - 130, 14, 260, 54, "worker", 'worker 1\npublish("prices", 12)')
    drawing.arrow((WIDTH / 2, 68), (WIDTH / 2, 112))
    drawing.words(WIDTH / 2 + 10, 96, "one message", muted=True)
    drawing.box(WIDTH / 2 - 130, 114, 260, 54, "primary", "primary\nknows who has subscribed")
    each = (WIDTH - 2 * _EDGE - 3 * _GAP) / 4
    for i, (name, subscribes) in enumerate(
        (("worker 2", True), ("worker 3", False), ("worker 4", True), ("agent", True))
    ):
        x = _EDGE + i * (each + _GAP)
        drawing.box(
            x,
            218,
            each,
            68,
            "agent" if name == "agent" else "worker" if subscribes else "client",
            f"{name}\n{'subscribed' if subscribes else 'not'}",
        )
        if subscribes:
            drawing.arrow((WIDTH / 2 + (i - 1.5) * 50, 168), (x + each / 2, 216))
    return drawing
