"""Streams of several kinds of events, in tests."""

from __future__ import annotations

from typing import Any

from aiocluster._events.emitter import Emitter
from aiocluster._events.stream import EventStream


def several(emitter: Emitter[Any], *names: Any) -> EventStream[Any]:
    """What ``events()`` returns, for a test that knows which one comes next."""
    return emitter.events(*names)
