"""Ports for programs that must be told one."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A free one for a program that can't tell which it got: below those that the kernel gives to others meanwhile."""
    while True:
        port = random.randrange(20_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
