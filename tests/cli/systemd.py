"""systemd's end of sd_notify(3): the socket that it reads."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


class Systemd:
    """Reads what a service says.

    Attributes:
        name: What ``NOTIFY_SOCKET`` is to be.
        heard: All messages so far, watchdog's left out.
        beats: How many ``WATCHDOG=1`` were heard.
    """

    def __init__(self, name: str, sock: socket.socket) -> None:
        self.name = name
        self.heard: list[dict[str, str]] = []
        self.beats = 0
        self.socket = sock

    def next(self) -> dict[str, str]:
        """The next message."""
        text = self.socket.recv(4096).decode()
        message = dict(line.split("=", 1) for line in text.splitlines())
        if "WATCHDOG" in message:
            self.beats += 1
        else:
            self.heard.append(message)
        return message

    def until(self, name: str) -> dict[str, str]:
        """The next message that has this variable."""
        while name not in (message := self.next()):
            pass
        return message


@contextmanager
def listening(name: str) -> Iterator[Systemd]:
    """Binds the socket. ``@name`` is an abstract one, as it is for systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if name.startswith("@") else name)
        sock.settimeout(40)
        yield Systemd(name, sock)
