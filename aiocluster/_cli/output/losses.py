"""What could not be written: said once, where it still can be."""

from __future__ import annotations

import errno
import logging
import os

logger = logging.getLogger("aiocluster.command")


class Losses:
    """Logs that a descriptor takes nothing, and that it does so again.

    Args:
        stream: ``"stdout"`` or ``"stderr"``. The log goes to stderr, so nothing tells at once that this one fails.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream

    def failing(self, error: OSError) -> None:
        """Nothing can be written for now."""
        if self._stream == "stdout":
            logger.warning("stdout takes nothing (%s): what workers print is lost, serving goes on", _why(error))

    def working(self, lost: int, error: OSError) -> None:
        """Something could be written again; so many bytes are lost."""
        logger.warning("%d bytes of %s are lost (%s)", lost, self._stream, _why(error))


def _why(error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return "nobody reads it any more"
    return os.strerror(error.errno) if error.errno else str(error)
