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
    """One worker's state in each region, and what follows from these.

    Attributes:
        process: ``running`` or ``exited``.
        channel: ``open`` or ``closed``.
        duty: Its last known activity: ``starting``, ``online``, ``listening``, ``failed`` or ``leaving``.
        loop: Whether an event loop reads its channel: ``none`` or ``running``.
        state: The value of `WorkerProcess.state`.
        is_leaving: Whether it was told to leave, or announced that it leaves. Its exit then counts as voluntary.
        is_over: Whether it has stopped serving: it has failed, its channel is closed, or its process has ended.
        is_missed: Whether it has stopped serving without leaving, so that it needs a replacement.
        is_gone: Whether its channel is closed and its process has ended: nothing more can happen to it.
        takes_connections: Whether it may be sent connections if it listens.
        is_ready: Whether its event loop runs and it has neither failed nor begun to leave: it can run functions.
    """

    def __init__(self) -> None:
        self.process: str = "running"
        self.channel: str = "open"
        self.duty: str = "starting"
        self.loop: str = "none"
        self._derive()

    def move(self, move: Move) -> bool:
        """Makes the move. Returns whether the state changed.

        Raises:
            ProtocolError: The move is illegal; nothing has changed.
        """
        region, table = MOVES[move]
        old: str = getattr(self, region)
        if old not in table:
            raise ProtocolError(f"{move!r} from a worker that is {old}")
        setattr(self, region, table[old])
        self._derive()
        return table[old] != old

    def _derive(self) -> None:
        """Derived at each move, which is rare, and not when it is read, which happens for each connection."""
        is_open, runs, failed = self.channel == "open", self.process == "running", self.duty == "failed"
        self.is_leaving: bool = self.duty == "leaving"
        self.is_over: bool = failed or not (is_open and runs)
        self.is_missed: bool = self.is_over and not self.is_leaving
        self.is_gone: bool = not (is_open or runs)
        self.takes_connections: bool = is_open and not (failed or self.is_leaving)
        self.is_ready: bool = self.takes_connections and self.loop == "running"
        if not (runs and is_open):
            self.state: str = "disconnected" if runs else "dead"
        else:
            self.state = "disconnecting" if self.is_leaving else self.duty
