"""From a URL to the state."""

from __future__ import annotations

from .client import ChannelEngine, Open
from .engine import Engine
from .state import State
from .url import is_hidden


def engine_for(url: str, open: Open) -> Engine:
    """Returns what reaches the state there; it connects when it is first used.

    Args:
        url: The URL, which has been checked.
        open: Opens a channel to the process that keeps the state, if one does.
    """
    if is_hidden(url):
        return ChannelEngine(open)
    raise NotImplementedError(url)


def open_state(url: str, open: Open) -> State:
    """Returns the state there; see `engine_for`."""
    return State._create(engine_for(url, open))
