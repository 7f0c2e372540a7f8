"""A worker's state machine, sans-I/O: four independent regions, as tables. All other states are derived from them.

======== ==================================================== ==============================================
region   states                                               moved by
======== ==================================================== ==============================================
process  running, exited                                      the operating system
channel  open, closed                                         either side closing it
duty     starting, online, listening, failed, leaving         the worker's frames, or the primary telling it to
                                                              leave
loop     none, running                                        the worker's frames
======== ==================================================== ==============================================

A move that is not in the tables is illegal: the worker has broken the protocol. h11 models connections the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from ..errors import ProtocolError

Move = Literal["exit", "close", "online", "listen", "fail", "leave", "attach", "detach"]
Region = Literal["process", "channel", "duty", "loop"]

MOVES: Final[Mapping[Move, tuple[Region, Mapping[str, str]]]] = {
    "exit": ("process", {"running": "exited"}),
    "close": ("channel", {"open": "closed"}),
    # A worker may listen while its target is imported, before it is online. It may also be told to leave before that.
    "online": ("duty", {"starting": "online", "leaving": "leaving"}),
    "listen": ("duty", {"starting": "starting", "online": "listening", "listening": "listening"}),
    # A leaving worker may still fail, and a failed one may still be told to leave.
    "fail": ("duty", {"starting": "failed", "online": "failed", "listening": "failed", "leaving": "leaving"}),
    "leave": (
        "duty",
        {
            "starting": "leaving",
            "online": "leaving",
            "listening": "leaving",
            "failed": "leaving",
            "leaving": "leaving",  # the primary and the worker decided it at the same time
        },
    ),
    "attach": ("loop", {"none": "running"}),
    "detach": ("loop", {"running": "none"}),
}
"""For each move: its region, and for each state in which it is legal, the next state."""

STATES: Final = ("starting", "online", "listening", "failed", "disconnecting", "disconnected", "dead")
"""The values of `Life.state`, in order."""


class Life:
    """One worker's state in each region.

    Attributes:
        process: ``running`` or ``exited``.
        channel: ``open`` or ``closed``.
        duty: Its last known activity: ``starting``, ``online``, ``listening``, ``failed`` or ``leaving``.
        loop: Whether an event loop reads its channel: ``none`` or ``running``.
        takes_connections: Whether it may be sent connections if it listens. It is derived from the others, and stored
            because it is read for each connection.
    """

    __slots__ = ("channel", "duty", "loop", "process", "takes_connections")

    def __init__(self) -> None:
        self.process: str = "running"
        self.channel: str = "open"
        self.duty: str = "starting"
        self.loop: str = "none"
        self.takes_connections: bool = True

    def may(self, move: Move) -> bool:
        """Whether this move is legal now."""
        region, table = MOVES[move]
        state: str = getattr(self, region)
        return state in table

    def move(self, move: Move) -> bool:
        """Makes the move. Returns whether the state changed.

        Raises:
            ProtocolError: The move is illegal; nothing has changed.
        """
        region, table = MOVES[move]
        old = getattr(self, region)
        if old not in table:
            raise ProtocolError(f"{move!r} from a worker that is {old}")
        setattr(self, region, table[old])
        self.takes_connections = self.channel == "open" and self.duty not in ("failed", "leaving")
        return bool(table[old] != old)

    @property
    def state(self) -> str:
        """The value of `WorkerProcess.state`."""
        if self.process == "exited":
            return "dead"
        if self.channel == "closed":
            return "disconnected"
        return "disconnecting" if self.duty == "leaving" else self.duty

    @property
    def is_leaving(self) -> bool:
        """Whether it was told to leave, or announced that it leaves. Its exit then counts as voluntary."""
        return self.duty == "leaving"

    @property
    def is_over(self) -> bool:
        """Whether it has stopped serving: it has failed, its channel is closed, or its process has ended."""
        return self.duty == "failed" or self.channel == "closed" or self.process == "exited"

    @property
    def is_gone(self) -> bool:
        """Whether its channel is closed and its process has ended: nothing more can happen to it."""
        return self.channel == "closed" and self.process == "exited"

    @property
    def is_missed(self) -> bool:
        """Whether it has stopped serving without leaving, so that it needs a replacement."""
        return self.is_over and not self.is_leaving

    @property
    def is_ready(self) -> bool:
        """Whether its event loop runs and it has neither failed nor begun to leave: it can run functions."""
        return self.loop == "running" and self.takes_connections
