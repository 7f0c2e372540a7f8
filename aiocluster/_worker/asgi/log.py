"""What of uvicorn's log is left out: lines that each worker would write at its start and end.

The primary tells these events itself, once. All else stays: errors, requests, WebSockets, and what the application logs
with uvicorn's loggers.
"""

from __future__ import annotations

import logging

_LOGGER = "uvicorn.error"

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
    """Leaves these lines out, unless uvicorn's log level is debug or below."""
    logger = logging.getLogger(_LOGGER)
    if logger.getEffectiveLevel() > logging.DEBUG:
        logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return record.msg not in _CHATTER
