"""The events: each a frozen dataclass.

A worker starts sooner if it does not make the classes that it does not need: each takes half a millisecond. A module is
imported when the first of its names is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import attributes, listing

if TYPE_CHECKING:
    from ._child import ChildExit, Close, Spawn
    from ._either import Disconnect, Error, Shutdown, Undelivered
    from ._message import Event, Message
    from ._primary import Address, Exit, Fork, GiveUp, Listening, Online, Setup

_HOMES = {
    "Address": "_primary",
    "ChildExit": "_child",
    "Close": "_child",
    "Disconnect": "_either",
    "Error": "_either",
    "Event": "_message",
    "Exit": "_primary",
    "Fork": "_primary",
    "GiveUp": "_primary",
    "Listening": "_primary",
    "Message": "_message",
    "Online": "_primary",
    "Setup": "_primary",
    "Shutdown": "_either",
    "Spawn": "_child",
    "Undelivered": "_either",
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
