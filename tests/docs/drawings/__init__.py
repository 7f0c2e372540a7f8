"""The drawn pictures of the docs, each in a module of its name: ``python -m tests.docs.drawings`` writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import connection, life, message, processes, timeline, topic
from .svg import Drawing

PICTURES: Mapping[str, Callable[[], Drawing]] = {
    "processes": processes.draw,
    "connection": connection.draw,
    "message": message.draw,
    "topic": topic.draw,
    "life": life.draw,
    "reload": timeline.reload,
    "stop": timeline.stop,
}
