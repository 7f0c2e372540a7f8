"""uvicorn's log: whose settings count, and which lines are left out.

Under its own command uvicorn sets up its loggers before it imports the app, so what the app sets counts. Here the app
is imported first.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

_LOGGER = "uvicorn.error"
_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


class _Set(NamedTuple):
    """What the app has set on a logger."""

    logger: logging.Logger
    handlers: list[logging.Handler]
    level: int
    propagate: bool
    is_disabled: bool


def own_loggers() -> list[_Set]:
    """Returns what the app has set on uvicorn's loggers. Call it before `uvicorn.Config` sets them up."""
    loggers = map(logging.getLogger, _LOGGERS)
    return [_Set(one, [*one.handlers], one.level, one.propagate, one.disabled) for one in loggers]


def restore(own: list[_Set]) -> None:
    """Sets it again: all of a logger to which the app gave handlers, and of any other what is not the default."""
    for logger, handlers, level, propagate, is_disabled in own:
        if handlers:
            logger.handlers[:] = handlers
            logger.propagate = propagate
        if level != logging.NOTSET:
            logger.setLevel(level)
        logger.propagate = logger.propagate and propagate
        logger.disabled = is_disabled


_CHATTER = frozenset(
    {
        "Started server process [%d]",
        "Waiting for application startup.",
        "ASGI 'lifespan' protocol appears unsupported.",
        "Application startup complete.",
        "Application startup failed. Exiting.",  # what failed is raised, and told by the primary
        "Shutting down",
        "Waiting for connections to close. (CTRL+C to force quit)",
        "Waiting for background tasks to complete. (CTRL+C to force quit)",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
        "Finished server process [%d]",
    }
)


def leave_out_chatter() -> None:
    """Leaves out lines that each worker would write at its start and end, which the primary tells itself, once.

    All else stays: errors, requests, WebSockets, and what the app logs with uvicorn's loggers. At uvicorn's log level
    debug all stay.
    """
    logger = logging.getLogger(_LOGGER)
    if logger.getEffectiveLevel() > logging.DEBUG:
        logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg not in _CHATTER
