"""The events: each a frozen dataclass.

A worker starts sooner if it does not make the classes that only the primary needs: a module is imported when the first
of its names is asked for (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .child import ChildExit, Close, Spawn
    from .either import Disconnect, Error, Event, Message, Shutdown, Undelivered
    from .primary import Address, Exit, Fork, GiveUp, Listening, Online, Setup

_HOMES = {
    "Address": "primary",
    "ChildExit": "child",
    "Close": "child",
    "Disconnect": "either",
    "Error": "either",
    "Event": "either",
    "Exit": "primary",
    "Fork": "primary",
    "GiveUp": "primary",
    "Listening": "primary",
    "Message": "either",
    "Online": "primary",
    "Setup": "primary",
    "Shutdown": "either",
    "Spawn": "child",
    "Undelivered": "either",
}

__all__ = [
    "Address",
    "ChildExit",
    "Close",
    "Disconnect",
    "Error",
    "Event",
    "Exit",
    "Fork",
    "GiveUp",
    "Listening",
    "Message",
    "Online",
    "Setup",
    "Shutdown",
    "Spawn",
    "Undelivered",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value
