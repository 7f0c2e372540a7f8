"""Which processes there are, and what goes between them."""

from __future__ import annotations

from .svg import LEADING, WIDTH, Drawing

_EDGE = 14
_GAP = 10


def draw() -> Drawing:
    drawing = Drawing(
        "Clients connect to the ports of the primary. The primary gives each connection to one of the workers, and"
        " passes messages between them and the agent. Workers and agent share a state.",
        468,
    )
    wide = WIDTH - 2 * _EDGE
    drawing.box(_EDGE + 126, 14, 200, 38, "client", "clients")
    drawing.arrow((WIDTH / 2, 52), (WIDTH / 2, 96))
    drawing.words(WIDTH / 2 + 10, 79, "connections", muted=True)

    drawing.box(_EDGE, 98, wide, 118, "primary")
    drawing.words(_EDGE + 14, 124, "primary", bold=True)
    drawing.words(WIDTH - _EDGE - 14, 124, "your main(): Cluster(…)", anchor="end", muted=True)
    for i, line in enumerate(
        (
            "opens the ports, accepts connections",
            "gives each connection to one worker",
            "passes messages on; replaces workers",
        )
    ):
        drawing.words(_EDGE + 14, 151 + i * LEADING, line)

    each = (wide - 3 * _GAP) / 4
    for i in range(4):
        x = _EDGE + i * (each + _GAP)
        drawing.arrow((x + each / 2, 216), (x + each / 2, 276), both=True)
        if i < 3:
            drawing.box(x, 278, each, 92, "worker", f"worker {i + 1}\nyour server\nevent loop")
        else:
            drawing.box(x, 278, each, 92, "agent", "agent\nruns once\nevent loop")
        drawing.arrow((x + each / 2, 370), (x + each / 2, 400), both=True, thin=True)
    middle = _EDGE + each + _GAP / 2
    drawing.words(middle + each + _GAP, 241, "connections,", anchor="middle", muted=True)
    drawing.words(middle + each + _GAP, 262, "messages", anchor="middle", muted=True)
    drawing.box(_EDGE, 402, wide, 52, "state", "state, if you use it\none more process (memory, SQLite), or a Redis")
    return drawing
