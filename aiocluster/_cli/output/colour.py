"""Whether to write in colour, and how."""

from __future__ import annotations

import os
from collections.abc import Mapping

RESET = b"\x1b[0m"
DIM, BOLD, RED, YELLOW = b"\x1b[2m", b"\x1b[1m", b"\x1b[31m", b"\x1b[33m"
PLACES = tuple(b"\x1b[%dm" % number for number in (36, 32, 35, 34, 33, 96, 92, 95, 94, 93))
"""The colours of the slots, in turn. Red is for errors."""


def has_colour(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether to write in colour to this descriptor, as Python decides it for its own tracebacks (3.13).

    ``NO_COLOR`` (no-color.org) counts before ``FORCE_COLOR``, and both before ``TERM=dumb``.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") not in (None, "", "dumb") and is_terminal(fd)


def is_terminal(fd: int) -> bool:
    """Whether this descriptor is an open terminal."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def painted(text: bytes, colour: bytes) -> bytes:
    """Returns the text in that colour; b"": as it is."""
    return colour + text + RESET if colour else text
