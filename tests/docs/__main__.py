"""Reads a page of the documentation: ``python -m tests.docs how-to/tls.md``."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.docs.desk import PageError
from tests.docs.session import OWN_NETWORK, read


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = struct.pack("16sh14x", b"lo", 1)  # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, flags)  # SIOCSIFFLAGS


def main() -> None:
    """Reads the page that is named."""
    page, *own_network = sys.argv[1:]
    with ExitStack() as stack:
        if own_network == [OWN_NETWORK]:
            _bring_loopback_up()
        else:  # one page after the other: they use the same ports
            lock = stack.enter_context((Path(tempfile.gettempdir()) / "aiocluster-docs.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            read(page)
        except PageError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
