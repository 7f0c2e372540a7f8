"""The events. Each is a frozen dataclass.

Each class takes half a millisecond to create, so a worker starts faster without those it does not need. A module of
this package is imported when one of its names is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import exports as _exports

if TYPE_CHECKING:
    # isort: off
    from ..address import Address as Address
    from ._child import ChildExit as ChildExit, Close as Close, Spawn as Spawn
    from ._either import (
        Backplane as Backplane,
        Disconnect as Disconnect,
        Error as Error,
        Shutdown as Shutdown,
        Undelivered as Undelivered,
    )
    from ._message import Event as Event, Message as Message
    from ._primary import (
        Exit as Exit,
        Fork as Fork,
        GiveUp as GiveUp,
        Listening as Listening,
        Online as Online,
        Reason as Reason,
        Setup as Setup,
        Slow as Slow,
    )
else:
    __getattr__, __dir__, __all__ = _exports(
        __name__,
        {
            "..address": "Address",
            "._child": "ChildExit Close Spawn",
            "._either": "Backplane Disconnect Error Shutdown Undelivered",
            "._message": "Event Message",
            "._primary": "Exit Fork GiveUp Listening Online Reason Setup Slow",
        },
    )
