"""From a URL to the state."""

from __future__ import annotations

from .._redis.url import is_redis, redacted, scheme_of
from ..errors import BackplaneError
from .client import ChannelEngine, Open
from .engine import Engine
from .state import State
from .url import check_hidden, is_hidden


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
    if is_redis(url):
        return _redis(url)
    raise BackplaneError(
        f"{redacted(url)!r} is no URL of a state: there is no scheme {scheme_of(url)!r}. Take memory:, sqlite:///path, "
        "or a Redis, such as redis://host:6379, rediss://host:6379 or unix:///path/of/socket"
    )


def _redis(url: str) -> Engine:
    try:
        from .redis import RedisEngine
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise BackplaneError(
            f"{redacted(url)!r} needs redis-py, which is not installed: pip install aiocluster[redis]"
        ) from None
    return RedisEngine(url)


def open_state(url: str, open: Open) -> State:
    """Returns the state there; see `engine_for`."""
    return State._create(engine_for(url, open))
