"""systemd's socket activation (sd_listen_fds(3)), notifications and watchdog (sd_notify(3), sd_watchdog_enabled(3)).

They are a few environment variables and a datagram socket, and need no library. A `Cluster` with ``systemd=True`` uses
all of it by itself, and so does the command ``aiocluster run``. Workers never do: they are started without these
variables.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from typing import Self

_logger = logging.getLogger("aiocluster.systemd")

_FIRST = 3  # SD_LISTEN_FDS_START
_MOST_UNSENT = 100  # messages that wait while systemd reads none


def inherited_descriptors() -> list[int]:
    """Returns the listening sockets that systemd passed to this process; empty without socket activation.

    Pass each to `Primary.listen_fd`; workers that listen on its address then get it. The variables are removed, so that
    workers don't take them as meant for themselves.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    fds = list(range(_FIRST, _FIRST + int(count)))
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds


def watchdog_interval() -> float | None:
    """Returns how many seconds systemd waits for ``WATCHDOG=1`` of this process; None: it does not."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    is_ours = pid in ("", str(os.getpid()))
    if not is_ours or not (microseconds.isascii() and microseconds.isdecimal()) or int(microseconds) == 0:
        return None
    return int(microseconds) / 1e6


class NotifySocket:
    """The socket on which systemd hears what a service says of itself. It belongs to the running loop.

    A message is never worth an outage: where none can be sent, that is logged once, and nothing is raised.
    """

    def __init__(self, address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[bytes] = deque(maxlen=_MOST_UNSENT)
        self._is_waiting = False
        self._has_failed = False
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._sock.setblocking(False)
            self._sock.connect("\0" + address[1:] if address.startswith("@") else address)
        except BaseException:
            self._sock.close()
            raise

    @classmethod
    def of_environment(cls) -> Self | None:
        """Opens the socket that ``NOTIFY_SOCKET`` names; None if there is no such variable, or no such socket."""
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address:
            return None
        if not address.startswith(("/", "@")):
            _logger.warning("NOTIFY_SOCKET=%s: only Unix sockets are supported; systemd is told nothing", address)
            return None
        try:
            return cls(address)
        except OSError as error:
            _logger.warning("NOTIFY_SOCKET=%s: %s; systemd is told nothing", address, error.strerror or error)
            return None

    def send(self, **variables: object) -> None:
        """Sends one message, such as ``READY=1``. If systemd is slow to read, it is sent when there is room again."""
        text = "\n".join(f"{name}={value}" for name, value in variables.items())
        self._unsent.append(text.encode(errors="replace"))  # a path in an error need not be text
        if not self._is_waiting:
            self._flush()

    @property
    def is_behind(self) -> bool:
        """Whether messages wait for room."""
        return self._is_waiting

    def _flush(self) -> None:
        while self._unsent:
            try:
                self._sock.send(self._unsent[0])
            except (BlockingIOError, InterruptedError):
                if not self._is_waiting:
                    self._is_waiting = True
                    self._loop.add_writer(self._sock, self._flush)
                return
            except OSError as error:
                if not self._has_failed:
                    self._has_failed = True
                    _logger.warning("systemd can't be told anything: %s", error.strerror or error)
            self._unsent.popleft()
        self._wait_no_more()

    def _wait_no_more(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._loop.remove_writer(self._sock)

    def close(self) -> None:
        """Sends what has room, and closes the socket."""
        self._flush()
        self._wait_no_more()
        self._sock.close()
