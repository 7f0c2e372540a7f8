"""From a URL to the state."""

from __future__ import annotations

from ..errors import BackplaneError
from .client import ChannelEngine, Open
from .engine import Engine
from .state import State
from .url import check_hidden, is_hidden, scheme


def engine_for(url: str, open: Open) -> Engine:
    """Returns what reaches the state there; it connects when it is first used.

    Args:
        url: The URL.
        open: Opens a channel to the process that keeps the state, if one does.

    Raises:
        BackplaneError: It is no URL of a state.
    """
    if is_hidden(url):
        try:
            check_hidden(url)
        except ValueError as error:
            raise BackplaneError(str(error)) from None
        return ChannelEngine(open)
    raise BackplaneError(
        f'there is no state with the scheme {scheme(url)!r}: take "memory:", "sqlite:///path", or a URL of a Redis, '
        "such as redis://host:6379, rediss://host:6379 or unix:///path/of/socket"
    )


def open_state(url: str, open: Open) -> State:
    """Returns the state there; see `engine_for`."""
    return State._create(engine_for(url, open))
