"""A worker's life, sans-I/O: four regions that move by themselves, as tables; what else is said of a worker follows.

======== ==================================================== ==============================================
region   states                                               moved by
======== ==================================================== ==============================================
process  running, exited                                      the operating system
channel  open, closed                                         either side's end
duty     starting, online, listening, failed, leaving         the worker's frames; the primary, which may tell
                                                              it to leave
loop     none, running                                        the worker's frames
======== ==================================================== ==============================================

A move that stands in no table is illegal: the worker has broken the protocol. h11 keeps its connections the same way.
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
    # A worker may listen while it is imported, before it is online; and it may be told to leave before that, too.
    "online": ("duty", {"starting": "online", "leaving": "leaving"}),
    "listen": ("duty", {"starting": "starting", "online": "listening", "listening": "listening"}),
    # One that leaves may still fail at it. One that has failed may still be told to leave.
    "fail": ("duty", {"starting": "failed", "online": "failed", "listening": "failed", "leaving": "leaving"}),
    "leave": (
        "duty",
        {
            "starting": "leaving",
            "online": "leaving",
            "listening": "leaving",
            "failed": "leaving",
            "leaving": "leaving",  # told to by the primary, and of its own accord at the same time
        },
    ),
    "attach": ("loop", {"none": "running"}),
    "detach": ("loop", {"running": "none"}),
}
"""Each move: the region, and from each state that it is legal in, the state that follows."""

STATES: Final = ("starting", "online", "listening", "failed", "disconnecting", "disconnected", "dead")
"""What `Life.state` may be, in order."""


class Life:
    """Where one worker is in each region.

    Attributes:
        process: ``running`` or ``exited``.
        channel: ``open`` or ``closed``.
        duty: What it was last heard to do: ``starting``, ``online``, ``listening``, ``failed`` or ``leaving``.
        loop: Whether an event loop reads its channel: ``none`` or ``running``.
        takes_connections: Whether it may be sent connections, should it listen. It follows from the others; it stands
            here because it is looked at for each connection.
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
        """Moves on; says whether that changed anything.

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
        """The one word for it that `WorkerProcess.state` shows."""
        if self.process == "exited":
            return "dead"
        if self.channel == "closed":
            return "disconnected"
        return "disconnecting" if self.duty == "leaving" else self.duty

    @property
    def is_leaving(self) -> bool:
        """Whether it was told to leave, or said that it does: its exit is then a voluntary one."""
        return self.duty == "leaving"

    @property
    def is_over(self) -> bool:
        """Whether it serves no more: it has failed, its channel is closed, or its process has ended."""
        return self.duty == "failed" or self.channel == "closed" or self.process == "exited"

    @property
    def is_gone(self) -> bool:
        """Whether nothing more will be heard of it."""
        return self.channel == "closed" and self.process == "exited"

    @property
    def is_missed(self) -> bool:
        """Whether it serves no more, and was not told to stop: a replacement will come."""
        return self.is_over and not self.is_leaving

    @property
    def is_ready(self) -> bool:
        """Whether its event loop runs, and it is neither leaving nor failing: functions can be called there."""
        return self.loop == "running" and self.takes_connections
