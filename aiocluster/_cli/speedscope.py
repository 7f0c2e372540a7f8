"""A profile in the format of speedscope.app. Pure.

https://github.com/jlfwong/speedscope/wiki/Importing-from-custom-sources
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Frame = tuple[str, str, int]


def speedscope(title: str, counts: Mapping[tuple[Frame, ...], int]) -> dict[str, Any]:
    """Returns the document.

    Args:
        title: What it is called.
        counts: How often each stack was found, outermost frame first: the function, its file (empty for what is no
            function) and line.
    """
    numbers: dict[Frame, int] = {}
    for stack in counts:
        for frame in stack:
            numbers.setdefault(frame, len(numbers))
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "aiocluster",
        "name": title,
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(*frame) for frame in numbers]},
        "profiles": [
            {
                "type": "sampled",
                "name": title,
                "unit": "none",
                "startValue": 0,
                "endValue": sum(counts.values()),
                "samples": [[numbers[frame] for frame in stack] for stack in counts],
                "weights": list(counts.values()),
            }
        ],
    }


def _frame(name: str, file: str, line: int) -> dict[str, Any]:
    return {"name": name, "file": file, "line": line} if file else {"name": name}
