"""The arguments of a listening call, checked as its loop does."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from collections.abc import Callable
from typing import Any


def arguments_of(original: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any] | None:
    """What a call of ``original`` is given, by name, without defaults and ``self``; None if it is no valid call."""
    try:
        given = dict(inspect.signature(original).bind(*args, **kwargs).arguments)
    except TypeError:
        return None
    given.pop("self", None)
    return given


def takes(original: Callable[..., Any], option: str) -> bool:
    """Whether it has a parameter of that name."""
    return option in inspect.signature(original).parameters


def check_backlog(backlog: Any, loop: asyncio.AbstractEventLoop | None = None) -> int:
    """Returns it as an int.

    Raises:
        TypeError: It is no integer; the text is that of `socket.socket.listen`, or of that loop.
        OverflowError: It is out of range, likewise.
    """
    if is_uvloop(loop) and not isinstance(backlog, int):
        raise TypeError(f"integer argument expected, got {type(backlog).__name__}")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as unbound:
        unbound.listen(backlog)  # an unbound socket can't listen, but its arguments are checked before
    return int(backlog)


def is_uvloop(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether it is uvloop's, whose words and rules differ from asyncio's here and there."""
    return any(cls.__module__ == "uvloop" for cls in type(loop).__mro__)
