"""A reload and a stop, in the order of time: what each process does meanwhile."""

from __future__ import annotations

from .svg import WIDTH, Drawing, Kind

_EDGE = 14
_ROW = 62
_BAR = 30
_TOP = 14

Bar = tuple[float, float, Kind, str]
"""From when until when, in hundredths of the picture's width, and what happens in it."""


def _x(at: float) -> float:
    return _EDGE + at * (WIDTH - 2 * _EDGE) / 100


def _timeline(title: str, rows: list[tuple[str, list[Bar]]], marks: list[tuple[float, str]]) -> Drawing:
    end = _TOP + len(rows) * _ROW + 8
    drawing = Drawing(title, end + (28 if marks else 36))
    for at in [at for at, _ in marks if at > 0]:
        drawing.line((_x(at), _TOP + 24), (_x(at), end), thin=True)
    for i, (name, bars) in enumerate(rows):
        y = _TOP + i * _ROW
        drawing.backed_label(_EDGE, y + 16, name)
        for start, until, kind, words in bars:
            drawing.box(_x(start), y + 24, _x(until) - _x(start), _BAR, kind)
            drawing.words((_x(start) + _x(until)) / 2, y + 24 + _BAR / 2 + 5, words, anchor="middle")
    if marks:
        for at, words in marks:
            drawing.words(_x(at), end + 14, words, anchor="start" if at < 10 else "end" if at > 90 else "middle")
    else:
        drawing.arrow((_EDGE, end + 6), (WIDTH - _EDGE, end + 6))
        drawing.words(WIDTH - _EDGE, end + 24, "time", anchor="end", muted=True)
    return drawing


def reload() -> Drawing:
    return _timeline(
        "During a reload the ports stay open all the time. The new worker of a slot starts and listens before the old"
        " one is told to leave. Then comes the next slot.",
        [
            ("the ports", [(0, 100, "primary", "open all the time")]),
            ("slot 0, the old worker", [(0, 27, "worker", "serves"), (27, 47, "agent", "finishes")]),
            ("slot 0, the new worker", [(5, 27, "client", "starts"), (27, 100, "worker", "serves")]),
            ("slot 1, the old worker", [(0, 72, "worker", "serves"), (72, 92, "agent", "finishes")]),
            ("slot 1, the new worker", [(50, 72, "client", "starts"), (72, 100, "worker", "serves")]),
        ],
        [],
    )


def stop() -> Drawing:
    return _timeline(
        "A stop with a drain delay of 10 seconds and a graceful timeout of 30: for 10 seconds all is served. Then the"
        " ports close and the workers finish what they have. What is left after 40 seconds is ended.",
        [
            ("readiness page", [(0, 100, "bad", "503: load balancers send clients elsewhere")]),
            ("the ports", [(0, 35, "primary", "open"), (35, 100, "client", "closed")]),
            ("a worker", [(0, 35, "worker", "serves"), (35, 65, "agent", "finishes")]),
            (
                "a worker that hangs",
                [(0, 35, "worker", "serves"), (35, 85, "agent", "does not finish"), (85, 100, "bad", "ended")],
            ),
        ],
        [(0, "SIGTERM"), (35, "10 s: leave!"), (85, "40 s")],
    )
