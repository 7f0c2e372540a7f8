"""Connections whose first bytes a policy wants to see before it picks. Nobody waits for another one's bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

from ...scheduling import Peeking

_MOST = 1024  # connections looked at at a time; of more, the oldest goes on as it is
_LOOK_AGAIN = 0.005  # seconds; then twice as many, and so on

Connection = tuple[int, Any, bytes | None]


class Peeker:
    """Looks at connections until the policy has seen enough.

    Args:
        policy: Says how much it wants to see, and how long a client may take.
        seen: Called with connections and their first bytes, which stay in their sockets.
    """

    def __init__(self, policy: Peeking[Any], seen: Callable[[Iterable[Connection]], None]) -> None:
        self._policy = policy
        self._seen = seen
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, tuple[socket.socket, Any, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, fd: int, client: Any) -> None:
        """Begins to look at this connection."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        self._waiting[fd] = sock, client, self._loop.call_later(self._policy.patience, self._go_on, fd)
        if len(self._waiting) > _MOST:
            self._go_on(next(iter(self._waiting)))
        if not self._has_enough(fd):
            self._loop.add_reader(fd, self._on_readable, fd)

    def hurry(self) -> None:
        """Descriptors have run out: all connections go on as they are."""
        for fd in list(self._waiting):
            self._go_on(fd)

    def _on_readable(self, fd: int, delay: float = _LOOK_AGAIN) -> None:
        self._loop.remove_reader(fd)
        if not self._has_enough(fd):
            # It stays readable; more may come in a moment, and until then it must not wake us.
            self._loop.call_later(delay, self._look_again, fd, self._waiting[fd][0], 2 * delay)

    def _look_again(self, fd: int, sock: socket.socket, delay: float) -> None:
        if fd in self._waiting and self._waiting[fd][0] is sock:
            self._on_readable(fd, delay)

    def _has_enough(self, fd: int) -> bool:
        """Looks at what has come; if that will do, the connection goes on."""
        sock = self._waiting[fd][0]
        try:
            first = sock.recv(self._policy.peek_limit, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            first = b""
        else:
            if first and not self._policy.has_enough(first):
                return False
        self._go_on(fd, first)
        return True

    def _go_on(self, fd: int, first: bytes | None = None) -> None:
        sock, client, timer = self._waiting.pop(fd)
        timer.cancel()
        self._loop.remove_reader(fd)
        if first is None:
            try:
                first = sock.recv(self._policy.peek_limit, socket.MSG_PEEK)
            except OSError:
                first = b""
        sock.detach()
        self._seen([(fd, client, first)])

    def close(self) -> None:
        """Closes those that are still looked at."""
        for fd, (sock, _, timer) in self._waiting.items():
            timer.cancel()
            self._loop.remove_reader(fd)
            sock.close()
        self._waiting.clear()
