"""`ReadyClock`: when the event loop has gone round since connections came, and how long it was busy meanwhile.

A first request that came with its connection has then been served, as far as its handler does not wait. So whoever
sends this worker connections knows when it is free, without knowing what its handlers do.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .processor_wait import ProcessorWait

TURNS = 6
"""Turns of the loop after which a first request has been served.

Its handler runs in the third turn with a protocol, in the fourth with streams or uvicorn, in the fifth with aiohttp;
with uvloop one earlier.
"""

PULL_AFTER = 0.001
"""A worker that was busy with each of its connections for longer than these seconds takes the next ones itself."""


class Port(Protocol):
    """Where connections come from."""

    def ready(self, count: int, seconds: float) -> None:
        """So many are ready; that took so many seconds together."""

    def pull(self, most: int) -> None:
        """Takes at most so many that wait, and adds them here."""


P = TypeVar("P", bound=Port)


@dataclass(slots=True)
class _Arrival(Generic[P]):
    """Connections of one port that came in the same turn of the loop."""

    port: P
    turn: int
    count: int


class ReadyClock(Generic[P]):
    """Counts the turns of the running loop while connections have come that it is not ready with.

    Args:
        flush: Called when ports have been told, so that the primary hears of it before the loop does anything else.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._arrivals: deque[_Arrival[P]] = deque()
        self._turn = 0
        self._time = 0.0  # up to which time has been counted
        self._processor_wait = ProcessorWait()
        self._waited = 0.0  # for a processor, up to then
        self._is_new = False  # connections have come after a pause
        self._handle: asyncio.Handle | None = None

    def add(self, port: P, count: int) -> None:
        """So many connections have come; 0: earlier ones have something to do now."""
        arrivals = self._arrivals
        if arrivals and arrivals[-1].turn == self._turn and arrivals[-1].port is port:
            arrivals[-1].count += count
            return
        arrivals.append(_Arrival(port, self._turn, count))
        if self._handle is None:
            try:
                self._handle = asyncio.get_running_loop().call_soon(self._go_round)
            except RuntimeError:  # the loop has ended, and the garbage collector ends a handshake's task
                arrivals.clear()
            else:
                self._is_new = True

    def stop(self) -> None:
        """The loop stops. The primary hears that, and does not wait for what was added."""
        self._arrivals.clear()
        self._processor_wait.close()
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
                first = arrivals.popleft()
                seconds = self._spent()
                if first.count and seconds > PULL_AFTER * first.count:
                    first.port.pull(first.count)  # before it says that it is ready: it is still in place of these
                first.port.ready(first.count, seconds)
            self._flush()
        self._handle = asyncio.get_running_loop().call_soon(self._go_round) if arrivals else None

    def _spent(self) -> float:
        """Seconds since the last call, without those in which this thread could have run but others did."""
        now, waited = time.monotonic(), self._processor_wait.seconds()
        seconds = max(0.0, now - self._time - max(0.0, waited - self._waited))
        self._time, self._waited = now, waited
        return seconds
