"""The events: each a frozen dataclass.

A worker starts sooner if it does not make the classes that it does not need: each takes half a millisecond. A module is
imported when the first of its names is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import attributes, listing

if TYPE_CHECKING:
    from .child import ChildExit, Close, Spawn
    from .either import Disconnect, Error, Shutdown, Undelivered
    from .message import Event, Message
    from .primary import Address, Exit, Fork, GiveUp, Listening, Online, Setup

_HOMES = {
    "Address": "primary",
    "ChildExit": "child",
    "Close": "child",
    "Disconnect": "either",
    "Error": "either",
    "Event": "message",
    "Exit": "primary",
    "Fork": "primary",
    "GiveUp": "primary",
    "Listening": "primary",
    "Message": "message",
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

__getattr__ = attributes(__name__, _HOMES)
__dir__ = listing(__name__, _HOMES)
