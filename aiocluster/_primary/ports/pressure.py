"""`Pressure`: whether connections wait because no worker has room for them.

What no worker has room for stays in the kernel's backlog, and nobody hears of it. So while a cluster may have more
workers, this looks there every few milliseconds; but only as long as workers are not ready with what they were sent,
or connections wait. A cluster of a fixed size, and one that has nothing to do, pay nothing.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .window import usual_seconds

if TYPE_CHECKING:
    from .port import Port

_INTERVAL = 0.005  # seconds between two looks

_TCP_INFO = struct.Struct("8B5I")  # the beginning of Linux's struct tcp_info, up to tcpi_unacked


@dataclass(frozen=True, slots=True)
class Strain:
    """How much is waiting, at one port or at all together.

    Attributes:
        waiting: How many connections wait where no worker has room: in the backlog, in the primary, and behind others
            at busy workers. At least 1 of those in the backlog, where the system does not tell how many.
        stuck: Seconds for which every worker there has been busy with the oldest connection that it was sent; 0.0 if
            one has room.
        arrived: How many connections have come so far.
        seconds: How long one connection keeps a worker busy, by what was seen last; 0.0 if nothing was.
        is_busy: Whether a worker is not ready with a connection, or one waits.
    """

    waiting: int = 0
    stuck: float = 0.0
    arrived: int = 0
    seconds: float = 0.0
    is_busy: bool = False


class Pressure:
    """Looks for connections that wait.

    Args:
        ports: The open ports. It is looked at anew each time.
    """

    def __init__(self, ports: Callable[[], Collection[Port]]) -> None:
        self._ports = ports
        self._tell: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, tell: Callable[[], None] | None) -> None:
        """Calls this every few milliseconds while connections wait. None: no more."""
        is_new = self._tell is None
        self._tell = tell
        if tell is not None and is_new:
            self.stir()
        elif tell is None and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stir(self) -> None:
        """A worker has been sent connections, or found to have no room."""
        if self._tell is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._look)

    def strain(self, now: float) -> Strain:
        """Returns what there is to see now, at all ports together."""
        return _together([strain_at(port, now) for port in self._ports()])

    def _look(self) -> None:
        self._timer = None
        strain = self.strain(time.monotonic())
        if strain.is_busy:
            self.stir()
        if strain.waiting and self._tell is not None:
            self._tell()


def _together(strains: Collection[Strain]) -> Strain:
    under_strain = [strain for strain in strains if strain.waiting]
    known = [strain.seconds for strain in strains if strain.seconds]
    return Strain(
        waiting=sum(strain.waiting for strain in under_strain),
        stuck=max((strain.stuck for strain in under_strain), default=0.0),
        arrived=sum(strain.arrived for strain in strains),
        seconds=max((strain.seconds for strain in under_strain), default=max(known, default=0.0)),
        is_busy=any(strain.is_busy for strain in strains),
    )


def strain_at(port: Port, now: float) -> Strain:
    """Returns what there is to see at one port. Where the workers accept themselves, that is nothing."""
    windows = port.windows
    if not port.hands_over or not windows:
        return Strain()
    seconds = usual_seconds(windows)
    unready = sum(window.unready for window in windows)
    if any(window.room > 0 and now - window.busy_since <= _INTERVAL for window in windows):
        return Strain(0, 0.0, port.accepted, seconds, unready > 0)
    queued = queued_at(port.sock)
    waiting = queued + port.pending + sum(max(0, window.unready - 1) for window in windows)
    stuck = min(now - window.busy_since for window in windows)
    return Strain(waiting, max(0.0, stuck), port.accepted + queued, seconds, True)


def queued_at(sock: socket.socket) -> int:
    """Returns how many connections the kernel keeps for this listening socket; where it does not tell, at most 1."""
    if sys.platform == "linux" and sock.family != socket.AF_UNIX:
        # Of a listening socket tcpi_unacked is the length of the queue (net/ipv4/tcp.c, tcp_get_info).
        return int(_TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))[-1])
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return 1 if poll.poll(0) else 0
