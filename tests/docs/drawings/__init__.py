"""The drawn pictures of the docs, each in a module of its name: ``python -m tests.docs.drawings`` writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tests.benchmarks import chart
from tests.docs.snippets import ROOT

from . import connection, life, message, policies, processes, timeline, topic
from .svg import Drawing

IMAGES = ROOT / "docs" / "images"


def _chart(name: str) -> Drawing:
    return chart.drawing(chart.read(IMAGES / f"{name}.json"))


PICTURES: Mapping[str, Callable[[], Drawing]] = {
    "processes": processes.draw,
    "connection": connection.draw,
    "message": message.draw,
    "topic": topic.draw,
    "life": life.draw,
    "reload": timeline.reload,
    "stop": timeline.stop,
    "policies": policies.draw,
    "tail": partial(_chart, "tail"),
    "load": partial(_chart, "load"),
}
