"""Reads the first bytes of connections for policies that need them. A slow client delays no other client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

from ..._checks import number, whole_number
from ...scheduling import Peeking

_MOST = 1024  # connections peeked at at the same time; beyond that, the oldest one goes on with what has arrived
_PEEK_AGAIN = 0.005  # seconds before the second peek; the delay doubles each time

Connection = tuple[int, Any, bytes | None, float]
"""An accepted connection: its descriptor, which the primary owns until a worker has taken it, its client's address, its
first bytes if the policy needs them, and since when it waits, on the monotonic clock; 0.0: nobody wants to know."""


class Peeker:
    """Peeks at connections until the policy has seen enough.

    Args:
        policy: Says how many bytes to peek at, and how long to wait for them.
        has_enough: Says whether these bytes are enough. It must not raise.
        seen: Called with connections and their first bytes, which stay in their sockets.

    Raises:
        ValueError: The policy's ``peek_limit`` or ``patience`` is out of its range.
        TypeError: One of these is not a number.
    """

    def __init__(
        self,
        policy: Peeking[Any],
        has_enough: Callable[[bytes], bool],
        seen: Callable[[Iterable[Connection]], None],
    ) -> None:
        self._limit = whole_number("peek_limit", policy.peek_limit, at_least=1)
        self._patience = number("patience", policy.patience, at_least=0, unit="seconds")
        self._policy_has_enough = has_enough
        self._seen = seen
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, tuple[socket.socket, Any, float, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, fd: int, client: Any, since: float) -> None:
        """Starts to peek at this connection."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        self._waiting[fd] = sock, client, since, self._loop.call_later(self._patience, self._go_on, fd)
        if len(self._waiting) > _MOST:
            self._go_on(next(iter(self._waiting)))
        if not self._has_enough(fd):
            self._loop.add_reader(fd, self._on_readable, fd)

    def hurry(self) -> None:
        """Passes all connections on with what has arrived: descriptors have run out."""
        for fd in list(self._waiting):
            self._go_on(fd)

    def _on_readable(self, fd: int, delay: float = _PEEK_AGAIN) -> None:
        self._loop.remove_reader(fd)
        if not self._has_enough(fd):
            # The socket stays readable, so a reader would be called again at once: peek again after a delay.
            self._loop.call_later(delay, self._peek_again, fd, self._waiting[fd][0], 2 * delay)

    def _peek_again(self, fd: int, sock: socket.socket, delay: float) -> None:
        if fd in self._waiting and self._waiting[fd][0] is sock:
            self._on_readable(fd, delay)

    def _has_enough(self, fd: int) -> bool:
        """Peeks at what has arrived. If the policy needs no more, passes the connection on."""
        sock = self._waiting[fd][0]
        try:
            first = sock.recv(self._limit, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            first = b""
        else:
            if first and not self._policy_has_enough(first):
                return False
        self._go_on(fd, first)
        return True

    def _go_on(self, fd: int, first: bytes | None = None) -> None:
        sock, client, since, timer = self._waiting.pop(fd)
        timer.cancel()
        self._loop.remove_reader(fd)
        if first is None:
            try:
                first = sock.recv(self._limit, socket.MSG_PEEK)
            except OSError:
                first = b""
        sock.detach()
        self._seen([(fd, client, first, since)])

    def close(self) -> None:
        """Closes all connections that are still waiting for their first bytes."""
        for fd, (sock, _, _, timer) in self._waiting.items():
            timer.cancel()
            self._loop.remove_reader(fd)
            sock.close()
        self._waiting.clear()
