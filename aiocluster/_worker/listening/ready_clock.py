"""`ReadyClock`: when the event loop has gone round since connections came, and how long it was busy meanwhile.

A first request that came with its connection has then been served, as far as its handler does not wait. So whoever
sends this worker connections knows when it is free, without knowing what its handlers do. A client that has not sent
anything by then is waited for a little.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from socket import socket
from typing import Generic, Protocol, TypeVar

from .processor_wait import ProcessorWait
from .silence import has_sent_nothing

TURNS = 6
"""Turns of the loop after which a first request has been served.

Its handler runs in the third turn with a protocol, in the fourth with streams or uvicorn, in the fifth with aiohttp;
with uvloop one earlier.
"""

PATIENCE = 0.003
"""Seconds that a client has to send its first bytes. Afterwards it is one that connects in advance."""

PULL_AFTER = 0.001
"""A worker that was busy with each of its connections for longer than these seconds takes the next ones itself."""


class Port(Protocol):
    """Where connections come from."""

    @property
    def is_slow(self) -> bool:
        """Whether connections keep this worker busy for long."""

    def ready(self, count: int, told: int, seconds: float) -> None:
        """So many are ready; the loop was busy for so many seconds with as many as ``told``."""

    def pull(self, most: int) -> None:
        """Takes at most so many that wait, and adds them here."""


P = TypeVar("P", bound=Port)


@dataclass(slots=True)
class _Arrival(Generic[P]):
    """Connections of one port that came in the same turn of the loop."""

    port: P
    turn: int
    count: int
    told: int  # connections of which it is to be told how long they took
    socks: list[socket]  # those of them whose clients may not have sent anything yet


@dataclass(slots=True)
class _Silent(Generic[P]):
    """A connection whose client is waited for."""

    port: P
    count: int  # 1 if the worker is not ready with it meanwhile
    timer: asyncio.TimerHandle
    until: float
    waited: float  # see `ReadyClock.begin_waiting`


class ReadyClock(Generic[P]):
    """Counts the turns of the running loop while connections have come that it is not ready with.

    Args:
        flush: Called when ports have been told, so that the primary hears of it before the loop does anything else.

    Attributes:
        idle_time: Returns the seconds that the running loop has waited for I/O so far; None: unknown.
        silent: The connections whose clients are waited for. `closed` must be called of these.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self.idle_time: Callable[[], float | None] = _unknown
        self._flush = flush
        self._arrivals: deque[_Arrival[P]] = deque()
        self._turn = 0
        self.silent: dict[socket, _Silent[P]] = {}
        self._waiting = 0  # connections whose clients are waited for
        self._busy = 0.0  # seconds, up to which they have been counted
        self._processor_wait = ProcessorWait()
        self._is_new = False  # connections have come after a pause
        self._handle: asyncio.Handle | None = None

    def add(self, port: P, count: int, socks: Sequence[socket] = (), *, told: int | None = None) -> None:
        """So many connections have come; 0: earlier ones have something to do now.

        Args:
            port: Where.
            count: How many.
            socks: Those of them whose clients may not have sent anything yet.
            told: With how many the loop has something to do, if not with so many.
        """
        arrivals = self._arrivals
        told = count if told is None else told
        if arrivals and arrivals[-1].turn == self._turn and arrivals[-1].port is port:
            arrivals[-1].count += count
            arrivals[-1].told += told
            arrivals[-1].socks.extend(socks)
            return
        arrivals.append(_Arrival(port, self._turn, count, told, [*socks]))
        if self._handle is None:
            try:
                self._handle = asyncio.get_running_loop().call_soon(self._go_round)
            except RuntimeError:  # the loop has ended, and the garbage collector ends a handshake's task
                arrivals.clear()
            else:
                self._is_new = not self._waiting

    @property
    def is_running(self) -> bool:
        """Whether it counts turns, and will flush."""
        return self._handle is not None

    def stop(self) -> None:
        """The loop stops. The primary hears that, and does not wait for what was added."""
        self._arrivals.clear()
        self._processor_wait.close()
        for silent in self.silent.values():
            silent.timer.cancel()
        self.silent.clear()
        self._waiting = 0
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _go_round(self) -> None:
        self._turn += 1
        arrivals = self._arrivals
        if self._is_new:
            self._is_new = False
            self._spent()  # from now on
        if arrivals[0].turn + TURNS <= self._turn:
            while arrivals and arrivals[0].turn + TURNS <= self._turn:
                self._due(arrivals.popleft())
            self._flush()
        self._handle = asyncio.get_running_loop().call_soon(self._go_round) if arrivals else None

    def _due(self, arrival: _Arrival[P]) -> None:
        port, count, told = arrival.port, arrival.count, arrival.told
        for sock in filter(has_sent_nothing, arrival.socks):
            unready = int(port.is_slow)  # else it is sent several at a time, and need not be idle because of this one
            self._wait_for(sock, port, unready)
            told -= 1
            count -= unready
        if told == 0 and arrival.told:
            if count:
                port.ready(count, 0, 0.0)
            return
        seconds = self._spent()
        if count and seconds > PULL_AFTER * count:
            port.pull(count)  # before it says that it is ready: it is still in place of these
        port.ready(count, told, seconds)

    def _wait_for(self, sock: socket, port: P, count: int) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(PATIENCE, self._go_on, sock)
        self.silent[sock] = _Silent(port, count, timer, loop.time() + PATIENCE, self.begin_waiting())

    def closed(self, sock: socket) -> None:
        """This connection, one of `silent`, has been closed: nobody waits for its client any more."""
        self._go_on(sock)

    def _go_on(self, sock: socket) -> None:
        silent = self.silent.pop(sock)
        silent.timer.cancel()
        self.add(silent.port, silent.count, told=1)
        self.end_waiting(silent.waited, max(0.0, time.monotonic() - silent.until))

    def begin_waiting(self) -> float:
        """A client is waited for, to whose connection belongs what the loop does meanwhile.

        Returns:
            What `end_waiting` needs.
        """
        self._waiting += 1
        return self._processor_wait.seconds()

    def end_waiting(self, waited: float, late: float = 0.0) -> None:
        """Call it after the connection has been added.

        Args:
            waited: What `begin_waiting` returned.
            late: How long the loop is known to have been busy meanwhile, where its waiting is not timed.
        """
        self._waiting = max(0, self._waiting - 1)
        if self.idle_time() is None:
            self._busy = self._busy_so_far() - late
        else:  # what it waited for a processor has been counted as waiting for I/O, too
            self._busy -= self._processor_wait.seconds() - waited

    def _spent(self) -> float:
        """Seconds for which the loop was busy since the last call."""
        before, self._busy = self._busy, self._busy_so_far()
        return max(0.0, self._busy - before)

    def _busy_so_far(self) -> float:
        """A time that stands still while the loop waits for I/O, or could run but other processes do."""
        return time.monotonic() - (self.idle_time() or 0.0) - self._processor_wait.seconds()


def _unknown() -> float | None:
    return None
